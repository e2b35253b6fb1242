"""Pictures and videos on disk, as the owners of datasets write them."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

_LINKS = 20_000
"""Names of one file: ext4 allows 65,000."""


def jpeg(picture: Picture, quality: int = 92) -> bytes:
    """Returns a picture as JPEG, colour at half resolution as cameras write it."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=2)
    return stream.getvalue()


def encoded(picture: Picture, suffix: str) -> bytes:
    """Returns a picture as a file of the format that ``suffix`` names: ``.jpg``, ``.png``, ``.bmp``, ``.tif``."""
    if suffix.lower() in (".jpg", ".jpeg"):
        return jpeg(picture)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF"}[suffix.lower()])
    return stream.getvalue()


def write_image(path: Path, picture: Picture) -> None:
    """Writes a picture in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture, path.suffix))


def write_video(path: Path, frames: Sequence[bytes], size: tuple[int, int], rate: int) -> None:
    """Writes JPEG pictures as a motion-JPEG video in an AVI file: every frame is whole and decodes on its own."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    tick = Fraction(1, rate)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p"
        stream.time_base = tick
        for i, data in enumerate(frames):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, tick
            packet.pts = packet.dts = i
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)


class FlatImages:
    """One grey picture under many names, for trees where only names and labels matter.

    Args:
        size: Width and height, pixels.
    """

    def __init__(self, size: tuple[int, int] = (16, 16)) -> None:
        self.size = size
        self._sources: dict[str, tuple[Path, int]] = {}

    def write(self, path: Path) -> None:
        """Puts the picture at ``path``: a hard link where the file system has them, else a copy."""
        path.parent.mkdir(parents=True, exist_ok=True)
        source, used = self._sources.get(path.suffix, (path, _LINKS))
        if used >= _LINKS:
            write_image(path, np.full((self.size[1], self.size[0], 3), 127, np.uint8))
            self._sources[path.suffix] = path, 0
            return
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
        self._sources[path.suffix] = source, used + 1
