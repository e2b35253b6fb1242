"""How many frames a video has, from its container where that can be trusted."""

from __future__ import annotations

import struct
from pathlib import Path

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".mov", ".m4v", ".wmv"})


class VideoDamagedError(Exception):
    """A video that is cut short or cannot be opened; the message says why."""


def frame_count(path: Path, expected: int | None = None) -> int:
    """Returns the number of frames of a video.

    The container's own count is taken when it is the expected one (or nothing is expected); otherwise the packets are
    counted, which reads the file and decodes nothing.

    Args:
        path: The video.
        expected: The number of labels.

    Raises:
        VideoDamagedError: Empty, cut short, or no video.
    """
    import av

    _refuse_cut_avi(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoDamagedError("it holds no video stream")
            stream = container.streams.video[0]
            if stream.frames and (expected is None or stream.frames == expected):
                return int(stream.frames)
            count = sum(1 for packet in container.demux(stream) if packet.size)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoDamagedError(
            f"it cannot be opened as a video ({getattr(error, 'strerror', None) or error})"
        ) from None
    if not count:
        raise VideoDamagedError("it holds no frames")
    return count


def _refuse_cut_avi(path: Path) -> None:
    """Compares the size that an AVI file's first chunk declares with the file's size: a broken copy is shorter."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise VideoDamagedError(f"it cannot be read ({error.strerror})") from None
    if not size:
        raise VideoDamagedError("the file is empty")
    if head[:4] == b"RIFF" and len(head) == 12:
        declared = struct.unpack("<I", head[4:8])[0] + 8
        if declared != 8 + 0xFFFFFFFF and size + 1 < declared:  # chunks are padded to even sizes
            raise VideoDamagedError(f"it is cut short: {size} bytes of {declared}")
