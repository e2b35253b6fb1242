"""zoo.predict on videos: frames by their number and time, tables in both forms, what is drawn, and spoiled files."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.helpers.tiny import tiny_pictures, tiny_registry
from zoo.faces.decode import VideoReader, read_image
from zoo.predict import main
from zoo.registry import load_registry
from zoo.runs import Settings
from zoo.runs.predict import Predictor, find_images

COLOURS = ("anger", "happiness", "neutral")  # what the tiny model says of red, green and blue


def video(path: Path, frames: int = 30, *, times: list[int] | None = None, codec: str = "libx264") -> Path:
    """Frame i is red, green or blue by i % 3; ``times`` in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        tick = Fraction(1, 20 if times is None else 1000)
        stream.codec_context.time_base = tick
        for i in range(frames):
            pixels = np.full((64, 96, 3), 30, np.uint8)
            pixels[..., i % 3] = 220
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i if times is None else times[i], tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_registry(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*words: str, code: int = 0) -> None:
    # by its whole path: registries are kept by their names
    assert main(["model=tiny", f"registry={Path('tiny.yaml').resolve()}", *words]) == code


def table(path: Path = Path("zoo-predictions/tiny.csv")) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_every_frame_is_there_under_its_number_and_time(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video(place / "v.mp4")
    predict("input=v.mp4")
    rows = table()
    assert [int(r["frame"]) for r in rows] == list(range(1, 31))
    assert [float(r["timestamp"]) for r in rows] == pytest.approx([0.05 * i for i in range(30)])
    assert [r["expression"] for r in rows] == [COLOURS[i % 3] for i in range(30)]
    assert {(r["file"], r["success"], r["face_id"], r["chosen"]) for r in rows} == {("v.mp4", "1", "0", "1")}
    shown = capsys.readouterr()
    assert shown.out.split() == [str(Path("zoo-predictions") / n) for n in ("v.tiny.mp4", "tiny.csv")]
    assert "30 frames and pictures: 30 faces, 0 without a face, 0 not decoded" in shown.err


def test_the_drawn_video_has_the_same_frames_and_times(place: Path) -> None:
    times = [0, 50, 100, 400, 401, 900, 1500]  # a camera that slows down in the dark
    video(place / "v.mp4", 7, times=times)
    predict("input=v.mp4")
    rows = table()
    assert [float(r["timestamp"]) for r in rows] == pytest.approx([t / 1000 for t in times], abs=1e-3)
    with VideoReader(Path("zoo-predictions/v.tiny.mp4")) as reader:
        drawn = list(reader.read_all())
    assert [f.seconds for f in drawn] == pytest.approx([t / 1000 for t in times], abs=1e-3)
    assert {f.problem for f in drawn} == {None}
    shapes = {f.pixels.shape for f in drawn if f.pixels is not None}
    assert len(shapes) == 1
    height, width, _ = shapes.pop()
    assert height % 2 == width % 2 == 0 and height >= 400  # enlarged, with a panel beside it
    colours = [int(f.pixels[200, 300].argmax()) for f in drawn if f.pixels is not None]
    assert colours == [i % 3 for i in range(7)]


def test_parquet_holds_what_csv_holds(place: Path) -> None:
    video(place / "v.mp4", 10)
    tiny_pictures(place / "pictures", 2, wrong=0)
    predict("input=v.mp4,pictures", "draw=false")
    predict("input=v.mp4,pictures", "draw=false", "format=parquet")
    text, binary = pd.read_csv("zoo-predictions/tiny.csv"), pd.read_parquet("zoo-predictions/tiny.parquet")
    pd.testing.assert_frame_equal(text, binary, check_dtype=False, rtol=1e-3, atol=1e-3)
    assert str(binary.dtypes["anger"]) == "float32"
    assert binary.frame.isna().tolist() == [False] * 10 + [True] * 6
    assert sorted(p.name for p in Path("zoo-predictions").iterdir()) == ["tiny.csv", "tiny.parquet"]


def test_folders_give_their_pictures_and_videos(place: Path) -> None:
    tiny_pictures(place / "in", 1, wrong=0)
    video(place / "in" / "anger" / "a.mkv", 5, codec="mjpeg")
    video(place / "in" / "neutral" / "a.AVI", 4, codec="mpeg4")
    predict("input=in")
    rows = table()
    assert [r["file"] for r in rows].count("anger/a.mkv") == 5
    assert [r["file"] for r in rows].count("neutral/a.AVI") == 4
    assert len(rows) == 12
    out = place / "zoo-predictions"
    assert (out / "anger" / "a.tiny.mp4").exists() and (out / "happiness" / "00000.tiny.png").exists()


def test_a_cut_video_gives_what_it_has_and_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = video(place / "v.avi", 60, codec="mjpeg").read_bytes()
    (place / "v.avi").write_bytes(data[: int(len(data) * 0.5)])
    predict("input=v.avi")
    rows = table()
    good = [r for r in rows if r["success"] == "1"]
    assert 20 < len(good) < 40
    assert [r["expression"] for r in good] == [COLOURS[i % 3] for i in range(len(good))]
    assert [int(r["frame"]) for r in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["success"] == "0" and len(rows) == len(good) + 1  # the picture that the cut went through
    assert f"v.avi: the stream is damaged after {len(good)} frames" in capsys.readouterr().err
    with VideoReader(place / "zoo-predictions" / "v.tiny.mp4") as reader:
        assert reader.count() == len(good)


def test_a_header_that_promises_too_much_is_a_warning_and_no_row(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = video(place / "v.avi", 9, codec="mpeg4", times=[50 * i for i in range(9)])  # it counts the milliseconds
    with VideoReader(path) as reader:
        assert reader.frames is not None and reader.frames > 9
    predict("input=v.avi", "draw=false")
    assert [r["success"] for r in table()] == ["1"] * 9
    err = capsys.readouterr().err
    assert "video has 9 frames" in err and "by its header" in err and "0 not decoded" in err


def test_what_is_no_video_is_named_and_the_rest_goes_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "empty.mp4").write_bytes(b"")
    (place / "text.mp4").write_text("no video")
    video(place / "v.mp4", 3)
    predict("input=empty.mp4,text.mp4,v.mp4")
    err = capsys.readouterr().err
    assert "empty.mp4" in err and "text.mp4" in err and "2 not decoded" in err
    assert [r["success"] for r in table()] == ["0", "0", "1", "1", "1"]
    assert not (place / "zoo-predictions" / "empty.tiny.mp4").exists()
    predict("input=empty.mp4", "out=none", code=1)


def test_an_interrupted_run_leaves_nothing_half_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video(place / "v.mp4", 30)
    count = 0

    def stop(*words: Any) -> Any:
        nonlocal count
        count += 1
        if count == 10:
            raise KeyboardInterrupt
        return real(*words)

    from zoo.faces import draw

    real = draw.annotate_frame
    monkeypatch.setattr(draw, "annotate_frame", stop)
    predict("input=v.mp4", code=130)
    assert list((place / "zoo-predictions").iterdir()) == []


def test_the_numbers_do_not_depend_on_threads_or_neighbours(place: Path) -> None:
    tiny_pictures(place / "in", 8)
    video(place / "in" / "v.mp4", 21)
    (place / "in" / "anger" / "00003.png").write_bytes(b"spoiled")
    for threads in ("1", "2"):
        predict("input=in", f"threads={threads}", f"out={threads}", "draw=false", "format=parquet")
    one, two = (pd.read_parquet(f"{n}/tiny.parquet") for n in "12")
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    registry = load_registry([place / "tiny.yaml"])
    predictor = Predictor(registry.get("tiny"), registry, Settings())
    try:
        for path in find_images(["in"]):
            row = one[one.file == path.relative_to("in").as_posix()].iloc[0]
            if row.success:
                _, results = predictor.image(read_image(path))
                assert [row[x] for x in COLOURS] == pytest.approx([results[0]["expression"][x] for x in COLOURS])
    finally:
        predictor.close()


@pytest.mark.package
def test_one_face_or_all_of_them(place: Path) -> None:
    import skimage.data

    face = Image.fromarray(skimage.data.astronaut()[35:225, 130:320])
    pixels = np.full((400, 600, 3), 128, np.uint8)
    pixels[20:250, :230] = face.resize((230, 230), Image.Resampling.BILINEAR)
    pixels[130:295, 235:400] = face.resize((165, 165), Image.Resampling.BILINEAR)
    with av.open("two.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 600, 400, "yuv420p"
        for i in range(4):
            shown = pixels if i % 2 == 0 else np.full_like(pixels, 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode(None))
    tiny_registry(place, preprocess={
        "size": [8, 8], "interpolation": "pillow-bilinear", "detector": "mediapipe-short-range",
        "align": {"method": "box"},
    })  # fmt: skip
    predict("input=two.mp4")
    rows = table()
    assert [(r["frame"], r["face_id"]) for r in rows] == [
        ("1", "0"), ("1", "1"), ("2", ""), ("3", "0"), ("3", "1"), ("4", ""),
    ]  # fmt: skip
    assert sorted(r["chosen"] for r in rows) == ["", "", "0", "0", "1", "1"]
    predict("input=two.mp4", "faces=chosen", "out=one", "draw=false")
    alone = table(Path("one/tiny.csv"))
    assert [r["frame"] for r in alone] == ["1", "2", "3", "4"]
    chosen = next(r for r in rows if r["chosen"] == "1")
    same = [c for c in chosen if c != "face_id"]
    assert [alone[0][c] for c in same] == [chosen[c] for c in same]
    with VideoReader("zoo-predictions/two.tiny.mp4") as reader:
        assert len({f.pixels.shape for f in reader.read_all() if f.pixels is not None}) == 1


def test_a_folder_says_what_it_leaves_out(place: Path) -> None:
    (place / "in").mkdir(exist_ok=True)
    for name in ("a.gif", "b.HEIC", "c.txt", ".hidden", "d.jpg"):
        (place / "in" / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"left out by their suffix: b\.HEIC, c\.txt$"):
        found = find_images([place / "in"])
    assert {"a.gif", "d.jpg"} <= {p.name for p in found}
