"""Pictures and video frames as RGB uint8 arrays, or an :class:`~zoo.errors.ImageError` that names the file.

What is found: files that are cut, empty, of another kind or too large, and video frames that the decoder itself
flags. What cannot be found here: flipped bytes inside a JPEG or H.264 stream, which carry no checksum and decode to
wrong pixels without a word from any decoder; a dataset's manifest is the guard against those.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ImageError

PIXEL_LIMIT: Final = 89_478_485
"""Largest picture in pixels: Pillow's own bound (``Image.MAX_IMAGE_PIXELS``), an error here rather than a warning."""

# Content decides, not the file's name. The list leaves out formats that run other programs (EPS) or render (WMF).
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_ORIENTATION: Final = 0x0112  # EXIF tag


def _bad(path: Path, reason: object) -> ImageError:
    line = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    # Libraries repeat the path in their words; the name is there already.
    return ImageError(f"{path.name}: {line.replace(str(path), path.name)}", where=str(path))


def read_image(path: str | Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Reads a picture: JPEG, PNG, WebP, BMP, GIF, TIFF or PPM, told by its content and not by its name.

    The EXIF orientation is applied. Grey, palette and CMYK become RGB as Pillow converts them; 16-bit samples keep
    their upper 8 bits; transparent pixels are laid over black, the value that warps also put outside the picture.
    Of an animation or a multi-page file the first frame is taken, with a ``UserWarning`` that says so.

    Args:
        path: File.
        content: Its bytes, where they have been read already (a picture inside a table); ``path`` then only names it.

    Returns:
        RGB uint8 ``[height, width, 3]``, contiguous and read-only.

    Raises:
        ImageError: The file is missing, empty, cut, no picture, of a sample type without a defined range (32-bit), or
            larger than :data:`PIXEL_LIMIT`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    try:
        if (path.stat().st_size if content is None else len(content)) == 0:
            raise _bad(path, "the file is empty")
        with Image.open(path if content is None else io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise _bad(path, f"{image.width}x{image.height} pixels, over the limit of {PIXEL_LIMIT}")
            # MPO is a photograph with thumbnails or a second view behind it; the JPEG reader hands it on as such.
            if image.format != "MPO" and getattr(image, "is_animated", False):
                count = getattr(image, "n_frames", "several")
                warnings.warn(f"{path.name}: holds {count} frames; the first one is used", stacklevel=2)
            image.load()
            turned = image.getexif().get(_ORIENTATION, 1) != 1
            # No copy to write into: for a large JPEG that costs as much as decoding it.
            return np.asarray(_rgb(path, ImageOps.exif_transpose(image) if turned else image))
    except ImageError:
        raise
    except FileNotFoundError:
        raise _bad(path, "no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bad(path, f"over the limit of {PIXEL_LIMIT} pixels") from error
    except UnidentifiedImageError as error:
        raise _bad(path, "not a picture in a format read here (JPEG, PNG, WebP, BMP, GIF, TIFF, PPM)") from error
    except Exception as error:  # hostile bytes make decoders raise SyntaxError, ValueError, struct.error ...
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise _bad(path, reason) from error


def _rgb(path: Path, image: Any) -> Any:
    """Converts a loaded Pillow image to mode RGB."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _bad(path, f"32-bit samples (mode {image.mode}) have no defined range")
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


@dataclass(frozen=True)
class VideoInfo:
    """What :func:`probe_video` found.

    Attributes:
        frames: Number of frames.
        exact: True when they were counted by decoding, False when the container says so.
        width: Pixels, after rotation.
        height: Pixels, after rotation.
        fps: Average frames a second; None where the container names none.
    """

    frames: int
    exact: bool
    width: int
    height: int
    fps: float | None


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        position: Its number in order of display, from 0.
        seconds: Its time stamp, counted from the first frame's; None where the stream has none.
        pixels: RGB uint8 ``[height, width, 3]``; None where it could not be decoded.
        problem: Why it could not be decoded.
    """

    position: int
    seconds: float | None
    pixels: NDArray[np.uint8] | None
    problem: str | None = None


class VideoReader:
    """Frames of a video by their number in decoding order of display, 0-based, in one forward pass.

    Nothing is sought: containers' time stamps and key-frame tables are often wrong, a decoder's count is not. Skipped
    frames are decoded but not converted. To go back, close the reader and open another.

    Attributes:
        path: File.
        frames: Number of frames: the container's figure, the true one once the end was reached, None while unknown.
        fps: Average frames a second; None where the container names none.
        shortfall: Once the end was reached: that the container's figure is larger than the number of frames, in words.
        next_position: The lowest position that :meth:`read` still takes. Past every frame once closed, so that a
            caller that compares positions opens a new reader.
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        """Opens a video.

        Args:
            path: File.
            threads: Threads of the decoder.

        Raises:
            ImageError: Missing, empty, no video, cut before its index, or without a video stream.
        """
        import av

        self.path = Path(path)
        self.next_position = 0
        self.shortfall: str | None = None
        self._failure: str | None = None  # set when nothing further can be read, and why
        self._ended = False
        self._awaiting_key = False
        self._seconds: float | None = None  # time stamp of the last decoded frame
        self._start: float | None = None
        try:
            if self.path.stat().st_size == 0:
                raise _bad(self.path, "the file is empty")
            self._container = av.open(str(self.path))
        except FileNotFoundError:
            raise _bad(self.path, "no such file") from None
        except (av.FFmpegError, OSError) as error:
            raise _bad(self.path, f"not a video that can be opened ({error.strerror or error})") from error
        if not self._container.streams.video:
            self._container.close()
            raise _bad(self.path, "no video stream")
        stream = self._container.streams.video[0]
        stream.codec_context.thread_count = threads
        self.frames: int | None = stream.frames or None
        self.fps: float | None = float(stream.average_rate) if stream.average_rate else None
        self._decoded: Iterator[Any] = self._container.decode(stream)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, position: int) -> NDArray[np.uint8]:
        """Decodes forward to a frame.

        Args:
            position: 0-based number of the frame, at least :attr:`next_position`.

        Returns:
            RGB uint8 ``[height, width, 3]``, turned as the container's display matrix says.

        Raises:
            ImageError: There is no such frame, or the decoder flags it or the stream before it as damaged.
            ValueError: The position lies behind the reader.
        """
        if position < self.next_position:
            raise ValueError(f"frames are read forwards: {position} asked, {self.next_position} is next")
        frame = None
        while self.next_position <= position:
            frame = self._advance()
            if frame is None:
                raise _bad(self.path, f"{self._failure}, frame {position} (counted from 0) asked")
        if self._awaiting_key:  # what is predicted from a damaged frame is damaged too
            raise _bad(self.path, f"frame {position} is damaged, or depends on one that is")
        return self._pixels(frame, position)

    def read_all(self) -> Iterator[Frame]:
        """Decodes frame by frame to the end.

        A damaged frame comes with its problem, and so does the first one that a broken stream does not give.
        """
        while not self._failure:
            position = self.next_position
            try:
                pixels = self.read(position)
            except ImageError as error:
                if not self._ended:
                    yield Frame(position, None if self._failure else self._seconds, None, error.what)
            else:
                yield Frame(position, self._seconds, pixels)

    def count(self) -> int:
        """Decodes to the end and returns the number of frames.

        Raises:
            ImageError: The stream is damaged, so that its frames cannot be counted.
        """
        while self._advance() is not None:
            pass
        if not self._ended:
            raise _bad(self.path, self._failure)
        return self.next_position

    def _advance(self) -> Any:
        """Returns the next decoded frame, or None with the reason in ``_failure``."""
        import av

        if self._failure:
            return None
        try:
            frame = next(self._decoded, None)
        except (av.FFmpegError, OSError) as error:
            # A packet was lost: how many frames went with it is unknown, so nothing after it has a number.
            self._failure = f"the stream is damaged after {self.next_position} frames ({error.strerror or error})"
            return None
        if frame is None:
            self._ended = True
            announced, self.frames = self.frames, self.next_position
            self._failure = f"video has {self.frames} frames"
            if announced is not None and announced > self.frames:
                self._failure += f" ({announced} by its header: it may be cut)"
                self.shortfall = f"{self.path.name}: {self._failure}"
            return None
        self.next_position += 1
        if frame.time is not None:
            self._start = frame.time if self._start is None else self._start
            self._seconds = frame.time - self._start
        else:
            self._seconds = None
        if frame.is_corrupt:
            self._awaiting_key = True
        elif frame.key_frame:
            self._awaiting_key = False
        return frame

    def _pixels(self, frame: Any, position: int) -> NDArray[np.uint8]:
        import av

        try:
            pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _bad(self.path, f"frame {position}: {error}") from error
        turns, rest = divmod(int(frame.rotation), 90)
        if rest:
            raise _bad(self.path, f"the display matrix turns by {frame.rotation} degrees; multiples of 90 are read")
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns % 4 else pixels

    def close(self) -> None:
        """Frees the decoder; harmless when repeated."""
        self.next_position = sys.maxsize
        self._decoded = iter(())
        self._container.close()


def probe_video(path: str | Path, *, count: bool = False) -> VideoInfo:
    """Says what a video holds.

    Args:
        path: File.
        count: Decode everything to count the frames exactly. Otherwise the container's figure is taken, and frames
            are counted only where it has none.

    Raises:
        ImageError: As :class:`VideoReader`; also when there is not one frame, or, when counting, when the stream is
            damaged.
    """
    with VideoReader(path) as reader:
        height, width = reader.read(0).shape[:2]
        known = None if count else reader.frames
        return VideoInfo(known or reader.count(), known is None, width, height, reader.fps)
