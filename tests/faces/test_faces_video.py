"""Videos: frames by number, ends, cuts and turns."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from zoo.errors import ImageError
from zoo.faces.decode import VideoInfo, VideoReader, probe_video, read_image

KINDS = [("libx264", "mp4"), ("mpeg4", "avi"), ("mjpeg", "mkv")]


def make(path: Path, codec="libx264", frames=20, width=64, height=48, left=0) -> Path:
    """Frame i is grey 10 i; ``left`` is the red of the left half."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in range(frames):
            pixels = np.full((height, width, 3), 10 * i % 250, np.uint8)
            if left:
                pixels[:, : width // 2, 0] = left
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def level(pixels):
    return round(float(pixels.mean()) / 10)


@pytest.mark.parametrize(("codec", "ending"), KINDS)
def test_frames_have_the_number_they_were_stored_under(codec, ending, tmp_path):
    path = make(tmp_path / f"v.{ending}", codec)
    with VideoReader(path) as reader:
        assert reader.path == path and reader.next_position == 0
        for position in (0, 1, 5, 6, 13, 19):
            pixels = reader.read(position)
            assert pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8
            assert level(pixels) == position
            assert reader.next_position == position + 1


def test_a_reader_goes_forwards_only(tmp_path):
    with VideoReader(make(tmp_path / "v.mp4")) as reader:
        reader.read(4)
        with pytest.raises(ValueError, match="4 asked, 5 is next"):
            reader.read(4)
        with pytest.raises(ValueError, match="-1 asked"):
            reader.read(-1)
        assert level(reader.read(5)) == 5


def test_a_closed_reader_asks_for_a_new_one(tmp_path):
    reader = VideoReader(make(tmp_path / "v.mp4"))
    reader.read(2)
    reader.close()
    reader.close()
    assert reader.next_position > 10**9
    with pytest.raises(ValueError, match="forwards"):
        reader.read(3)


@pytest.mark.parametrize(("codec", "ending"), KINDS)
def test_past_the_end(codec, ending, tmp_path):
    with VideoReader(make(tmp_path / f"v.{ending}", codec, frames=7)) as reader:
        for asked in (7, 9, 500):
            with pytest.raises(ImageError, match=rf"v.{ending}: video has 7 frames, frame {asked} "):
                reader.read(asked)
        assert reader.frames == 7
        with pytest.raises(ImageError, match="frame 8 "):  # an earlier one than was asked before, still past the end
            reader.read(8)


def test_a_video_with_fewer_frames_than_its_header_says(tmp_path):
    data = make(tmp_path / "v.avi", "mjpeg").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: int(len(data) * 0.6)])
    with VideoReader(path) as reader:
        assert reader.frames == 20
        good = 0
        with pytest.raises(ImageError) as caught:
            while True:
                assert level(reader.read(good)) == good
                good += 1
        assert 5 < good < 15
        assert "cut.avi: " in caught.value.what
        assert ("damaged after" in caught.value.what) or ("may be cut" in caught.value.what)
        with pytest.raises(ImageError, match="frame 19 "):
            reader.read(19)
    with pytest.raises(ImageError, match=r"cut\.avi"):
        probe_video(path, count=True)


def test_a_cut_before_the_index(tmp_path):
    data = make(tmp_path / "v.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    for part in (0.1, 0.6):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(ImageError, match=r"^cut\.mp4: "):
            VideoReader(path).read(0)


def test_after_a_lost_packet_no_frame_has_a_number(tmp_path):
    data = bytearray(make(tmp_path / "v.mp4", frames=24).read_bytes())
    with av.open(str(tmp_path / "v.mp4")) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    at, size = packets[12]
    data[at : at + size] = b"\xff" * size
    path = tmp_path / "lost.mp4"
    path.write_bytes(data)
    seen = {}
    with VideoReader(path) as reader:
        for i in range(24):
            try:
                seen[i] = level(reader.read(i))
            except ImageError as error:
                assert "damaged" in error.what
    assert seen and len(seen) < 24
    assert all(number == shown for number, shown in seen.items())


def test_a_frame_that_the_decoder_flags_spoils_the_ones_predicted_from_it(tmp_path, monkeypatch):
    class Frame:
        def __init__(self, key, corrupt):
            self.key_frame, self.is_corrupt, self.rotation, self.time = key, corrupt, 0, None

        def to_ndarray(self, format):
            return np.zeros((2, 2, 3), np.uint8)

    frames = [Frame(True, False), Frame(False, True), Frame(False, False), Frame(True, False), Frame(False, False)]
    reader = VideoReader(make(tmp_path / "v.mp4"))
    reader._decoded = iter(frames)
    good = []
    for i in range(5):
        try:
            reader.read(i)
            good.append(i)
        except ImageError as error:
            assert f"frame {i} is damaged" in error.what
    assert good == [0, 3, 4]


@pytest.mark.parametrize("data", [b"", b"not a film", b"\0" * 5000])
def test_what_is_no_video(data, tmp_path):
    path = tmp_path / "bad.mp4"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"^bad\.mp4: "):
        VideoReader(path)


def test_no_file(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.mp4: no such file"):
        VideoReader(tmp_path / "gone.mp4")


def test_a_sound_file_has_no_video_stream(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(ImageError, match="no video stream"):
        VideoReader(path)


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Writes the display matrix of an MP4's track header (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (v << 16 for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "turns"), [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)]
)
def test_the_display_matrix_is_applied(matrix, turns, tmp_path):
    # x' = a x + c y, y' = b x + d y: (0, 1, -1, 0) sends right to down, which is a quarter turn clockwise.
    plain = VideoReader(make(tmp_path / "v.mp4", frames=3, left=250)).read(1)
    path = turned(make(tmp_path / "t.mp4", frames=3, left=250), matrix)
    pixels = VideoReader(path).read(1)
    np.testing.assert_array_equal(pixels, np.rot90(plain, turns))
    assert pixels.flags.c_contiguous
    info = probe_video(path)
    assert (info.height, info.width) == pixels.shape[:2]


def test_probe(tmp_path):
    path = make(tmp_path / "v.mp4", frames=11)
    assert probe_video(path) == VideoInfo(frames=11, exact=False, width=64, height=48, fps=25.0)
    assert probe_video(path, count=True) == VideoInfo(frames=11, exact=True, width=64, height=48, fps=25.0)
    headless = probe_video(make(tmp_path / "v.mkv", "mjpeg", frames=11))  # Matroska holds no count
    assert (headless.frames, headless.exact) == (11, True)


def test_decoder_threads_change_nothing(tmp_path):
    path = make(tmp_path / "v.mp4", frames=20, left=200)
    one, two = VideoReader(path), VideoReader(path, threads=2)
    for i in range(20):
        np.testing.assert_array_equal(one.read(i), two.read(i))


def test_a_video_is_no_picture(tmp_path):
    path = make(tmp_path / "v.mp4").rename(tmp_path / "v.jpg")
    with pytest.raises(ImageError, match="not a picture"):
        read_image(path)


def test_all_frames_in_their_order_with_their_times(tmp_path):
    with VideoReader(make(tmp_path / "v.mp4")) as reader:
        reader.read(3)
        frames = list(reader.read_all())
        assert [f.position for f in frames] == list(range(4, 20)) and {f.problem for f in frames} == {None}
        assert [level(f.pixels) for f in frames] == list(range(4, 20))
        assert [f.seconds for f in frames] == pytest.approx([i / 25 for i in range(4, 20)])
        assert reader.shortfall is None and list(reader.read_all()) == []


def test_all_frames_of_a_stream_that_breaks(tmp_path):
    data = make(tmp_path / "v.avi", "mjpeg").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: int(len(data) * 0.6)])
    with VideoReader(path) as reader:
        frames = list(reader.read_all())
        assert [f.position for f in frames] == list(range(len(frames)))
        assert all(f.pixels is not None for f in frames[:-1])
        assert frames[-1].problem is not None or reader.shortfall is not None
