"""DISFA: every quirk of its layout that readers have stumbled over, and every damage that must not pass unseen."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datasets.trees import disfa_value, write_disfa, write_disfa_labels, write_frames, write_video
from zoo.datasets import check
from zoo.datasets.base import Finding, Index
from zoo.datasets.disfa import AUS, JAA_LEFT_OUT, SUBJECTS, Disfa
from zoo.datasets.parse import read_pairs, tidy
from zoo.datasets.reader import Audit, Wanted
from zoo.errors import DatasetError, DatasetMissingError, UnknownNameError

PARTS = {
    1: "SN001 SN002 SN009 SN010 SN016 SN026 SN027 SN030 SN032",
    2: "SN006 SN011 SN012 SN013 SN018 SN021 SN024 SN028 SN031",
    3: "SN003 SN004 SN005 SN007 SN008 SN017 SN023 SN025 SN029",
}


def found(index: Index, code: str) -> list[Finding]:
    return [f for f in index.findings if f.code == code]


def inspect(root: Path, **options: str) -> Index:
    return Disfa().inspect(root, **options)


def label_file(root: Path, subject: str = "SN001", au: int = 4) -> Path:
    return root / "ActionUnit_Labels" / subject / f"{subject}_au{au}.txt"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owners' counts for trees of six frames a subject."""
    monkeypatch.setattr(Disfa, "rows", dict.fromkeys(SUBJECTS, 6))


def test_constants() -> None:
    assert len(SUBJECTS) == 27
    assert sum(Disfa.rows.values()) == 130_814
    assert "SN014" not in SUBJECTS


def test_a_whole_copy_has_no_complaint(tmp_path: Path, small: None) -> None:
    index = inspect(write_disfa(tmp_path))
    assert [f.severity for f in index.findings] == ["note"]
    assert len(index) == 27 * 6
    assert index.subjects == list(SUBJECTS)
    assert index.frame[:6].tolist() == [1, 2, 3, 4, 5, 6]
    assert index.identities == "disfa"
    assert not index.synthetic


def test_aus_come_from_the_file_names_and_not_from_their_order(tmp_path: Path) -> None:
    index = inspect(write_disfa(tmp_path, ["SN003"]))
    labels = index.labels["au-intensity"]
    assert labels.names == (
        "AU01",
        "AU02",
        "AU04",
        "AU05",
        "AU06",
        "AU09",
        "AU12",
        "AU15",
        "AU17",
        "AU20",
        "AU25",
        "AU26",
    )
    expected = [[disfa_value("SN003", au, f) for au in AUS] for f in range(1, 7)]
    assert labels.values.tolist() == expected
    assert labels.values.dtype == np.float32


@pytest.mark.parametrize("camera", ["left", "right"])
@pytest.mark.parametrize("folder", ["Videos_{}Camera", "Video_{}Camera", "videos_{}camera", "VIDEO_{}_CAMERA"])
def test_both_spellings_of_the_camera_folders(tmp_path: Path, camera: str, folder: str) -> None:
    write_disfa_labels(tmp_path, {"SN001": 3})
    write_frames(tmp_path / folder.format(camera.capitalize()) / "SN001", range(1, 4))
    index = inspect(tmp_path, camera=camera)
    assert len(index) == 3
    assert index.options == {"camera": camera}


@pytest.mark.parametrize(
    ("camera", "name"), [("left", "LeftVideoSN001_comp.avi"), ("right", "RightVideoSN001_Comp.avi"),
                         ("right", "RIGHTVIDEOSN001_COMP.AVI")]
)  # fmt: skip
def test_videos_are_found_whatever_their_case(tmp_path: Path, camera: str, name: str) -> None:
    write_disfa_labels(tmp_path, {"SN001": 5})
    write_video(tmp_path / f"Videos_{camera.capitalize()}Camera" / name, 5)
    index = inspect(tmp_path, camera=camera)
    assert index.position.tolist() == [0, 1, 2, 3, 4]
    assert index.frame.tolist() == [1, 2, 3, 4, 5]
    assert set(index.file.tolist()) == {f"Videos_{camera.capitalize()}Camera/{name}"}
    assert not found(index, "missing-frames")


def test_cameras_are_not_mixed(tmp_path: Path) -> None:
    write_disfa_labels(tmp_path, {"SN001": 3, "SN002": 3})
    write_video(tmp_path / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi", 3)
    write_video(tmp_path / "Videos_LeftCamera" / "RightVideoSN002_Comp.avi", 3)
    write_video(tmp_path / "Video_RightCamera" / "RightVideoSN001_Comp.avi", 3)
    left = inspect(tmp_path)
    assert left.subjects == ["SN001"]
    assert [f.severity for f in found(left, "misplaced-file")] == ["warning"]
    assert "SN002" in found(left, "missing-video")[0].message
    right = inspect(tmp_path, camera="right")  # the misplaced one is a right video, and says so in its name
    assert right.subjects == ["SN001", "SN002"]
    assert found(right, "misplaced-file")


def test_unknown_camera(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="left"):
        inspect(tmp_path, camera="lef")
    with pytest.raises(UnknownNameError, match="camera"):
        inspect(tmp_path, cam="left")


@pytest.mark.parametrize(
    ("frames", "labels", "samples", "code", "severity"),
    [
        (6, 6, 6, None, None),
        (7, 6, 6, "frames-without-labels", "note"),
        (9, 6, 6, "frames-without-labels", "warning"),
        (5, 6, 5, "one-frame-short", "note"),
        (3, 6, 3, "missing-frames", "warning"),
    ],
)
def test_video_and_labels_of_different_length(
    tmp_path: Path, frames: int, labels: int, samples: int, code: str | None, severity: str | None
) -> None:
    write_disfa_labels(tmp_path, {"SN001": labels})
    write_video(tmp_path / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi", frames)
    index = inspect(tmp_path)
    assert len(index) == samples
    findings = [f for f in index.findings if f.code in ("frames-without-labels", "one-frame-short", "missing-frames")]
    assert [(f.code, f.severity) for f in findings] == ([(code, severity)] if code else [])
    if code == "missing-frames":
        assert findings[0].count == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_video_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    write_disfa_labels(tmp_path, {"SN001": 6, "SN002": 6})
    for subject in ("SN001", "SN002"):
        write_video(tmp_path / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi", 6)
    video = tmp_path / "Videos_LeftCamera" / "LeftVideoSN002_comp.avi"
    whole = video.read_bytes()
    video.write_bytes(
        {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"<html>quota exceeded</html>" * 50}[damage]
    )
    with pytest.raises(DatasetError, match=r"LeftVideoSN002_comp\.avi"):
        Disfa().index(tmp_path)
    index = inspect(tmp_path)
    assert [f.severity for f in found(index, "damaged-video")] == ["error"]
    assert index.subjects == ["SN001"]


@pytest.mark.parametrize("pattern", ["{}.jpg", "{:05d}.jpg", "{:08d}.png", "SN001_{:04d}.JPG", "frame_{}.bmp"])
@pytest.mark.parametrize("first", [0, 1])
def test_extracted_frames_from_zero_or_one(tmp_path: Path, pattern: str, first: int) -> None:
    write_disfa_labels(tmp_path, {"SN001": 12})
    write_frames(tmp_path / "Videos_LeftCamera" / "SN001", range(first, first + 12), pattern)
    index = inspect(tmp_path)
    assert index.frame.tolist() == list(range(1, 13))
    assert index.file[0].endswith("/" + pattern.format(first))
    assert index.file[11].endswith("/" + pattern.format(first + 11))
    assert (index.position == -1).all()
    (note,) = found(index, "frame-numbering")
    assert note.severity == "note"
    assert ("n + 1" in note.message) == (first == 0)


def test_numbering_that_cannot_be_known_is_a_warning_and_follows_the_others(tmp_path: Path) -> None:
    write_disfa_labels(tmp_path, {"SN001": 12, "SN002": 12})
    write_frames(tmp_path / "Videos_LeftCamera" / "SN002", range(3, 8))
    alone = inspect(tmp_path)
    assert alone.frame.tolist() == [3, 4, 5, 6, 7]
    assert [f.severity for f in found(alone, "frame-numbering-unclear")] == ["warning"]
    write_frames(tmp_path / "Videos_LeftCamera" / "SN001", range(12))  # this one is numbered from 0
    together = inspect(tmp_path)
    assert together.frame[together.subject == "SN002"].tolist() == [4, 5, 6, 7, 8]
    assert [f.severity for f in found(together, "frame-numbering-unclear")] == ["warning"]


def test_frames_outside_a_camera_folder(tmp_path: Path) -> None:
    write_disfa_labels(tmp_path, {"SN001": 4})
    write_frames(tmp_path / "images" / "SN001", range(4), "{}.jpg")
    index = inspect(tmp_path)
    assert len(index) == 4
    assert found(index, "camera-not-named")[0].severity == "warning"
    with pytest.raises(DatasetMissingError, match="right camera"):
        inspect(tmp_path, camera="right")


def test_two_files_for_one_frame_are_an_error(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    write_frames(tmp_path / "Videos_LeftCamera" / "SN001", [3], "{}.jpg")
    with pytest.raises(DatasetError, match=r"frame 3 is also"):
        Disfa().index(tmp_path)


def test_a_video_is_preferred_to_extracted_frames(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    write_video(tmp_path / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi", 6)
    index = inspect(tmp_path)
    assert (index.position >= 0).all()
    assert found(index, "video-preferred")


def test_a_missing_subject_is_named_and_the_rest_is_read(tmp_path: Path, small: None) -> None:
    index = Disfa().index(write_disfa(tmp_path, [s for s in SUBJECTS if s != "SN005"]))
    (finding,) = found(index, "missing-subject")
    assert "SN005" in finding.message
    assert (finding.severity, finding.count) == ("warning", 1)
    assert len(index.subjects) == 26


def test_an_unknown_subject_is_reported(tmp_path: Path, small: None) -> None:
    index = inspect(write_disfa(tmp_path, [*SUBJECTS, "SN014"]))
    assert "SN014" in found(index, "unknown-subject")[0].message


def test_a_missing_au_file_leaves_the_au_not_coded(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001", "SN002"])
    label_file(tmp_path, "SN002", 12).unlink()
    index = inspect(tmp_path)
    values = index.labels["au-intensity"].values
    column = AUS.index(12)
    assert np.isnan(values[index.subject == "SN002", column]).all()
    assert not np.isnan(values[index.subject == "SN001"]).any()
    (finding,) = found(index, "missing-label-file")
    assert "AU 12" in finding.message
    assert "SN002" in finding.message


def test_files_of_one_subject_with_different_lengths(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    file = label_file(tmp_path)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))
    index = inspect(tmp_path)
    column = index.labels["au-intensity"].values[:, AUS.index(4)]
    assert np.isnan(column).tolist() == [False] * 4 + [True] * 2
    finding = next(f for f in found(index, "missing-labels") if "au4" in f.message)
    assert finding.count == 2
    assert "first 5" in finding.message


def test_a_short_subject_is_counted(tmp_path: Path, small: None) -> None:
    write_disfa(tmp_path)
    write_disfa_labels(tmp_path, {"SN004": 4}, aus=AUS)
    index = inspect(tmp_path)
    (finding,) = found(index, "missing-labels")
    assert finding.count == 2
    assert "SN004" in finding.message


@pytest.mark.parametrize("value", ["7", "-1", "9", "100"])
def test_a_value_out_of_range_is_not_coded_and_counted(tmp_path: Path, value: str) -> None:
    write_disfa(tmp_path, ["SN001"])
    label_file(tmp_path).write_text(f"1,0\n2,1\n3,{value}\n4,2\n5,{value}\n6,0\n")
    index = Disfa().index(tmp_path)
    column = index.labels["au-intensity"].values[:, AUS.index(4)]
    assert np.isnan(column).tolist() == [False, False, True, False, True, False]
    (finding,) = found(index, "value-out-of-range")
    assert finding.count == 2
    assert "SN001_au4.txt" in finding.message
    assert f"{value} at frame 3" in finding.message


@pytest.mark.parametrize("tail", ["5,", "5", "5,0\n6;1\n", "5,x\n", "5,2.0\n", "5,1,1\n", "\x00\x00", "frame,value\n"])
def test_a_line_that_is_no_label_is_an_error_with_file_and_line(tmp_path: Path, tail: str) -> None:
    write_disfa(tmp_path, ["SN001"])
    label_file(tmp_path).write_text("1,0\n2,1\n3,1\n4,2\n" + tail)
    line = 6 if tail.startswith("5,0\n") else 5
    with pytest.raises(DatasetError, match=rf"SN001_au4\.txt:{line}"):
        Disfa().index(tmp_path)
    report = check("disfa", tmp_path)
    assert report.errors == 1
    assert f"SN001_au4.txt:{line}" in report.text()


def test_an_empty_label_file_is_an_error(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    label_file(tmp_path).write_text("")
    with pytest.raises(DatasetError, match=r"SN001_au4\.txt: the file is empty"):
        Disfa().index(tmp_path)


@pytest.mark.parametrize(
    "text", ["1,0\r\n2,1\r\n3,2\r\n", "\ufeff1,0\n2,1\n3,2\n", "1, 0\n 2,1 \n\n3,2", "1,0\n2,1\n3,2\n\n"]
)
def test_harmless_forms_of_a_label_file(tmp_path: Path, text: str) -> None:
    write_disfa(tmp_path, ["SN001"], frames=3)
    label_file(tmp_path).write_bytes(text.encode())
    index = Disfa().index(tmp_path)
    assert index.labels["au-intensity"].values[:, AUS.index(4)].tolist() == [0, 1, 2]


def test_frame_zero_in_a_label_file_is_an_error(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    label_file(tmp_path).write_text("0,0\n1,1\n2,2\n3,0\n4,0\n5,0\n")
    with pytest.raises(DatasetError, match="one frame off"):
        Disfa().index(tmp_path)


def test_repeated_frames(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"], frames=4)
    label_file(tmp_path).write_text("1,0\n2,1\n2,1\n3,2\n3,4\n4,5\n")
    index = Disfa().index(tmp_path)
    column = index.labels["au-intensity"].values[:, AUS.index(4)]
    assert column[[0, 1, 3]].tolist() == [0, 1, 5]
    assert np.isnan(column[2])
    assert found(index, "duplicate-frame")[0].count == 2


def test_rows_out_of_order_are_matched_by_number(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"], frames=3)
    label_file(tmp_path).write_text("3,5\n1,1\n2,3\n")
    index = Disfa().index(tmp_path)
    assert index.labels["au-intensity"].values[:, AUS.index(4)].tolist() == [1, 3, 5]
    assert found(index, "unsorted-rows")


def test_a_gap_in_every_file_is_reported(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    for au in AUS:
        file = label_file(tmp_path, au=au)
        file.write_text("".join(x for x in file.read_text().splitlines(keepends=True) if not x.startswith("3,")))
    index = inspect(tmp_path)
    assert index.frame.tolist() == [1, 2, 4, 5, 6]
    assert any("first 3" in f.message for f in found(index, "missing-labels"))
    assert index.file[2].endswith("00004.jpg")


def test_a_frame_number_as_large_as_it_gets_costs_no_memory(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    with label_file(tmp_path).open("a") as file:
        file.write("999999999,1\n")
    index = inspect(tmp_path)
    assert index.frame.tolist() == [1, 2, 3, 4, 5, 6]
    assert found(index, "one-frame-short") or found(index, "missing-frames")


def test_files_that_contradict_each_other(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    (label_file(tmp_path).parent / "SN001_au04.txt").write_text("1,5\n")
    with pytest.raises(DatasetError, match="AU 4 of SN001 is also in"):
        Disfa().index(tmp_path)


def test_a_file_of_another_subject_is_an_error(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    label_file(tmp_path).rename(label_file(tmp_path).parent / "SN002_au4.txt")
    with pytest.raises(DatasetError, match="label file of SN002 in the folder of SN001"):
        Disfa().index(tmp_path)


def mixed(subject: str, au: int, frame: int) -> int:
    """Labels of which no two files are alike."""
    return zlib.crc32(f"{subject} {au} {frame}".encode()) % 6


def test_labels_that_were_copied_from_another_are_an_error(tmp_path: Path) -> None:
    write_disfa_labels(tmp_path, {"SN001": 40, "SN002": 40}, value=mixed)
    for subject in ("SN001", "SN002"):
        write_frames(tmp_path / "Videos_LeftCamera" / subject, range(1, 41))
    assert not [f for f in Disfa().inspect(tmp_path).findings if f.severity == "error"]
    labels = tmp_path / "ActionUnit_Labels"
    (labels / "SN002" / "SN002_au4.txt").write_bytes((labels / "SN001" / "SN001_au4.txt").read_bytes())
    with pytest.raises(DatasetError, match=r"SN002_au4\.txt: the labels are those of .*SN001_au4\.txt"):
        Disfa().index(tmp_path)


@pytest.mark.parametrize(("frames", "said"), [(40, None), (50, "frames-without-labels"), (80, "another-frame-rate")])
def test_pictures_at_another_rate_are_an_error(tmp_path: Path, frames: int, said: str | None) -> None:
    write_disfa_labels(tmp_path, {"SN001": 40}, value=mixed)
    write_frames(tmp_path / "Videos_LeftCamera" / "SN001", range(1, frames + 1))
    codes = {f.code: f.severity for f in Disfa().inspect(tmp_path).findings}
    assert codes.keys() & {"frames-without-labels", "another-frame-rate"} == ({said} if said else set())
    assert said != "another-frame-rate" or codes[said] == "error"


def test_fewer_pictures_than_labels_may_be_of_another_rate(tmp_path: Path) -> None:
    write_disfa_labels(tmp_path, {"SN001": 40}, value=mixed)
    write_frames(tmp_path / "Videos_LeftCamera" / "SN001", range(1, 21))
    (finding,) = (f for f in Disfa().index(tmp_path).findings if f.code == "missing-frames")
    assert "another rate than 20 a second" in finding.message


def test_a_doubled_folder_is_tolerated(tmp_path: Path) -> None:
    write_disfa(tmp_path / "x", ["SN001"])
    (tmp_path / "ActionUnit_Labels").mkdir()
    (tmp_path / "x" / "ActionUnit_Labels").rename(tmp_path / "ActionUnit_Labels" / "ActionUnit_Labels")
    (tmp_path / "x" / "Videos_LeftCamera").rename(tmp_path / "Videos_LeftCamera")
    assert len(inspect(tmp_path)) == 6


def test_an_empty_frame_file_stays_and_is_reported(tmp_path: Path) -> None:
    write_disfa(tmp_path, ["SN001"])
    (tmp_path / "Videos_LeftCamera" / "SN001" / "00002.jpg").write_bytes(b"")
    index = Disfa().index(tmp_path)
    assert len(index) == 6
    assert "00002.jpg" in found(index, "damaged-image")[0].message


def test_roots_that_are_not_disfa(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="no such folder"):
        inspect(tmp_path / "nothing")
    with pytest.raises(DatasetMissingError, match="is empty"):
        inspect(tmp_path)
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(DatasetMissingError, match=r"holiday\.jpg"):
        inspect(tmp_path)
    with pytest.raises(DatasetMissingError, match="not a folder"):
        inspect(tmp_path / "holiday.jpg")
    (tmp_path / "ActionUnit_Labels").mkdir()
    with pytest.raises(DatasetMissingError, match="ActionUnit_Labels"):
        inspect(tmp_path)


def test_labels_without_pictures(tmp_path: Path) -> None:
    write_disfa_labels(tmp_path, {"SN001": 3})
    with pytest.raises(DatasetMissingError) as caught:
        inspect(tmp_path)
    assert "camera=right" in str(caught.value)
    assert "LeftVideoSN001_comp.avi" in str(caught.value)


def test_manifest_follows_content_and_not_place(tmp_path: Path) -> None:
    one, two = write_disfa(tmp_path / "a", ["SN001"]), write_disfa(tmp_path / "b", ["SN001"])
    assert inspect(one).manifest == inspect(two).manifest
    label_file(two).write_text("1,0\n2,0\n3,0\n4,0\n5,0\n6,0\n")
    changed = inspect(two).manifest
    assert changed != inspect(one).manifest
    (two / "Videos_LeftCamera" / "SN001" / "00002.jpg").write_bytes(b"longer or shorter")
    assert inspect(two).manifest != changed


def test_jaa_frames_are_those_of_the_published_lists() -> None:
    subject = np.concatenate([np.full(n, s) for s, n in Disfa.rows.items()])
    frame = np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in Disfa.rows.values()])
    empty = np.full(len(frame), "")
    index = Index(
        "disfa", Path(), "0" * 64, "disfa", False, subject, subject, frame, empty, empty, frame - 1, {}
    )  # fmt: skip
    keep = Disfa().frame_set(index, "jaa")
    assert keep.sum() == 126_144
    counts = {p: int(keep[np.isin(subject, names.split())].sum()) for p, names in PARTS.items()}
    assert counts == {1: 43_173, 2: 40_344, 3: 42_627}
    assert (~keep[subject == "SN021"]).sum() == 3_052
    # 0-based 397..419 of SN001 are label frames 398..420.
    dropped = frame[(subject == "SN001") & ~keep]
    assert dropped[0] == 398
    assert dropped[22] == 420
    assert set(JAA_LEFT_OUT) <= set(SUBJECTS)
    for names in PARTS.values():
        expected = int(keep[np.isin(subject, names.split())].sum())
        assert Disfa().expected(Wanted(frames="jaa", subjects=tuple(names.split()))) == expected


# -- label text

LINE = st.one_of(
    st.tuples(st.integers(0, 30), st.integers(-3, 12)).map(lambda p: f"{p[0]},{p[1]}"),
    st.sampled_from(
        ["", " 7 , 2 ", "5,", ",5", "5", "x", "1,2,3", "1.5,2", "+1,2", "١,٢", "99999999999999,1", "1,\x00"]
    ),
    st.text(max_size=8),
)


@given(st.lists(LINE, max_size=25), st.sampled_from(["\n", "\r\n", "\r"]))
def test_no_wrong_number_in_silence(lines: list[str], end: str) -> None:
    """Every value that comes out stands in the file, and whatever else stands there is reported."""
    content = end.join(lines).encode("utf-8", "replace")
    audit = Audit()
    frame, value = read_pairs(content, "f.txt", audit)
    series = tidy(frame, value, "f.txt", audit, valid=(0, 1, 2, 3, 4, 5))

    stated: dict[int, set[int]] = {}
    other = 0
    for line in content.splitlines():
        parts = [p.strip(b" \t") for p in line.split(b",")]
        if (
            len(parts) == 2
            and parts[0].isdigit()
            and parts[1].removeprefix(b"-").isdigit()
            and max(map(len, parts)) < 10
        ):
            stated.setdefault(int(parts[0]), set()).add(int(parts[1]))
        elif line.strip():
            other += 1
    codes = {f.code: f for f in audit.findings}
    assert (codes["damaged-label-file"].count if "damaged-label-file" in codes else 0) == other
    assert (series.frame > 0).all()
    assert (np.diff(series.frame) > 0).all()
    assert set(series.frame.tolist()) == {f for f in stated if f > 0}
    assert ("frame-below-first" in codes) == (0 in stated)
    for number, label in zip(series.frame.tolist(), series.value.tolist(), strict=True):
        good = len(stated[number]) == 1 and 0 <= min(stated[number]) <= 5
        assert (not np.isnan(label)) == good
        if good:
            assert {label} == stated[number]
        else:
            assert codes.keys() & {"value-out-of-range", "duplicate-frame"}


@given(st.binary(max_size=200))
def test_any_bytes_give_findings_and_no_crash(content: bytes) -> None:
    audit = Audit()
    frame, value = read_pairs(content, "f.txt", audit)
    tidy(frame, value, "f.txt", audit, valid=(0, 1, 2, 3, 4, 5))


def test_swapped_aus_show_in_their_base_rates(tmp_path: Path) -> None:
    """The owners' 324 files with AU 2 and AU 25 exchanged, as a reader that zips directory order would write them."""
    rng = np.random.default_rng(0)
    rates = {1: 0.0498, 2: 0.0401, 4: 0.1503, 6: 0.0791, 9: 0.0420, 12: 0.1289, 25: 0.2780, 26: 0.0885}

    def of(au: int, count: int) -> str:
        coded = np.where(rng.random(count) < rates.get(au, 0.05), 3, 0)
        return "".join(f"{f},{v}\n" for f, v in enumerate(coded.tolist(), 1))

    for subject, count in Disfa.rows.items():
        folder = tmp_path / "ActionUnit_Labels" / subject
        folder.mkdir(parents=True)
        for au in AUS:
            (folder / f"{subject}_au{au}.txt").write_text(of({2: 25, 25: 2}.get(au, au), count))
        write_frames(tmp_path / "Videos_LeftCamera" / subject, [0])
    rated = found(inspect(tmp_path), "base-rate")
    assert [f.message.split(" has")[0] for f in rated] == ["AU 2", "AU 25"]
