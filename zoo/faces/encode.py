"""Drawn frames as a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from zoo._util.files import atomic_path

# Divides the usual frame rates, and fits the 16 bits that MPEG-4 has for it.
_CLOCK: Final = Fraction(1, 60000)
_RATE: Final = 25  # of frames without a time stamp


@contextmanager
def write_video(path: Path, size: tuple[int, int]) -> Iterator[Callable[[Image.Image, float | None], None]]:
    """Opens an MP4 file, which is whole or absent, and yields the function that adds a frame and its time in seconds.

    The codec is H.264 where the installed PyAV can write it, else MPEG-4. There is no sound.

    Args:
        path: The file.
        size: Width and height, both even. Frames of another size are resized.
    """
    import av

    h264 = "libx264" in av.codecs_available
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264" if h264 else "mpeg4", rate=_RATE)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        if not h264:  # its own default is 200 kbit/s
            stream.bit_rate = 4 * size[0] * size[1]
        step = round(1 / _RATE / _CLOCK)
        last = -step

        def add(image: Image.Image, seconds: float | None) -> None:
            nonlocal last
            pixels = np.asarray(image if image.size == size else image.resize(size))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            now = last + step if seconds is None else round(seconds / _CLOCK)
            frame.pts = last = max(now, last + 1)  # time stamps that do not grow are no video
            frame.time_base = _CLOCK
            container.mux(stream.encode(frame))

        yield add
        container.mux(stream.encode(None))
