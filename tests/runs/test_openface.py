"""OpenFace's CSV files: both headers, failed frames, whose they are, and what they score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.datasets.base import Index, Labels
from zoo.errors import DatasetError, UsageError, ZooError
from zoo.models.openface_csv import read_openface_csv
from zoo.protocols.rules import assign_folds
from zoo.protocols.schema import ProtocolFile
from zoo.registry import load_registry
from zoo.runs.openface import output_of, predictions_from_openface_csv
from zoo.runs.scoring import score_predictions

ENTRY = load_registry().get("openface2")
AUS = ("AU01", "AU12", "AU25")


def sequence(path: Path, rows: list[tuple[int, int, float, list[float]]], comma: str = ", ") -> Path:
    """Writes FeatureExtraction's form: (frame, success, confidence, intensities of three AUs)."""
    head = ["frame", "face_id", "timestamp", "confidence", "success", "gaze_0_x"]
    head += [f"{a}_r" for a in AUS] + [f"{a}_c" for a in AUS]
    lines = [comma.join(head)]
    for frame, success, confidence, values in rows:
        cells = [frame, 0, round(frame / 30, 3), confidence, success, 0.1, *values, *(float(v >= 1) for v in values)]
        lines.append(comma.join(str(c) for c in cells))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def picture(path: Path, faces: list[tuple[float, list[float]]]) -> Path:
    """Writes FaceLandmarkImg's form: a row a face."""
    lines = [",".join(["face", "confidence", *(f"{a}_r" for a in AUS)])]
    lines += [",".join(map(str, (i, c, *values))) for i, (c, values) in enumerate(faces)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("comma", [",", ", "])
def test_a_sequence(tmp_path: Path, comma: str) -> None:
    found = read_openface_csv(
        sequence(
            tmp_path / "a.csv", [(1, 1, 0.9, [1.2, 0, 3]), (2, 0, 0.0, [0, 0, 0]), (3, 1, 0.8, [5, 0.5, 0])], comma
        )
    )
    assert found.kind == "sequence"
    np.testing.assert_array_equal(found.frame, [1, 2, 3])
    np.testing.assert_array_equal(found.success, [True, False, True])
    np.testing.assert_allclose(found.intensity["AU01"], [1.2, np.nan, 5])  # the zeros of a failed frame are no zeros
    np.testing.assert_allclose(found.occurrence["AU25"], [1, np.nan, 0])


def test_the_most_confident_face_counts(tmp_path: Path) -> None:
    several = sequence(tmp_path / "a.csv", [(1, 0, 0.99, [9e-9, 0, 0]), (1, 1, 0.6, [1, 1, 1]), (1, 1, 0.7, [2, 2, 2])])
    assert read_openface_csv(several).intensity["AU12"].tolist() == [2.0]
    faces = read_openface_csv(picture(tmp_path / "b.csv", [(0.5, [1, 1, 1]), (0.9, [3, 2, 1])]))
    assert (faces.kind, faces.intensity["AU01"].tolist(), faces.occurrence) == ("image", [3.0], {})
    nobody = read_openface_csv(picture(tmp_path / "c.csv", []))
    assert len(nobody.frame) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read as CSV"),
        ("a,b\n1,2\n", "columns of OpenFace"),
        ("frame,confidence,success,x_0\n1,0.9,1,3\n", "no AU columns"),
        ("frame,confidence,success,AU01_r\n1,0.9,1\n", "line 2: 'AU01_r' is no number"),
        ("frame,confidence,success,AU01_r\n0,0.9,1,2\n", "frame 0"),
        ("frame,confidence,success,AU01_r\n1.5,0.9,1,2\n", "not whole"),
        ("frame,confidence,success,AU01_r\n1,0.9,1,7\n", "from 0 to 7"),
        ("frame,confidence,success,AU01_c\n1,0.9,1,3\n", "from 0 to 3"),
        ("face,confidence,AU01_r\n0,0.9,nonsense\n", "no number"),
    ],
)
def test_what_is_no_file_of_openface(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_openface_csv(tmp_path / "a.csv")


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_error_in_words(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(b"frame,confidence,success,AU01_r\n" + data)
    try:
        read_openface_csv(path)
    except ZooError as error:
        assert "a.csv" in str(error)


def index_of(root: Path, files: list[str], position: list[int], subjects: list[str]) -> Index:
    n = len(files)
    values = np.tile(np.arange(n, dtype=np.float32)[:, None] % 6, (1, 3))
    frames = np.arange(1, n + 1, dtype=np.int32)
    return Index(
        dataset="disfa", root=root, manifest="m", identities="disfa", synthetic=False, subject=np.array(subjects),
        sequence=np.array(subjects), frame=frames, split=np.full(n, ""), file=np.array(files),
        position=np.array(position, np.int32), labels={"au-intensity": Labels("au-intensity", AUS, values)},
        options={"camera": "left"},
    )  # fmt: skip


def test_videos_by_their_names(tmp_path: Path) -> None:
    videos = [f"LeftVideo{s}_comp.avi" for s in ("SN001", "SN002")]
    index = index_of(
        tmp_path,
        [v for v in videos for _ in range(4)],
        [0, 1, 2, 3] * 2,
        [s for s in ("SN001", "SN002") for _ in "1234"],
    )
    truth = index.labels["au-intensity"].values
    out = tmp_path / "openface"
    for n, video in enumerate(videos):
        rows = [(f, int((n, f) != (1, 3)), 0.9, truth[4 * n + f - 1].tolist()) for f in (1, 2, 3, 4)]
        sequence(out / f"{video.removesuffix('.avi')}.csv", rows)
    table = predictions_from_openface_csv(out, index, ENTRY)
    assert table["row"].to_pylist() == list(range(8))
    assert table["face_found"].to_pylist() == [True] * 6 + [False, True]
    got = table["au-intensity/AU12"].to_numpy()
    expected = truth[:, 1].copy()
    expected[6] = np.nan
    np.testing.assert_array_equal(got, expected)

    output = output_of(table, ENTRY, "au-intensity")
    assert output.labels == AUS  # of OpenFace's seventeen
    protocol = ProtocolFile.model_validate({
        "id": "p", "version": 1, "title": "P", "dataset": "disfa", "task": "au-intensity", "labels": AUS,
        "folds": [{"name": "a", "test": ["SN001"]}, {"name": "b", "test": ["SN002"]}],
        "metrics": ["pcc", "mae"], "primary": {"metric": "mae", "aggregation": "pooled"}, "undetected": "absent",
    })  # fmt: skip
    scored = score_predictions(table, index, protocol, assign_folds(protocol, index), output, resamples=50)
    assert (scored.coverage.detected, scored.coverage.undetected) == (7, 1)
    by_rule = {v.rule: v for v in scored.views}
    skipped = next(s for s in by_rule["undetected-skipped"].scores if s.metric == "mae" and s.aggregation == "pooled")
    missed = next(s for s in by_rule["undetected-as-error"].scores if s.metric == "mae" and s.aggregation == "pooled")
    assert skipped.mean.value == 0
    assert missed.mean.value == pytest.approx(float(truth[6].mean()) / 8)


def test_folders_of_frames_are_counted_by_name_and_not_by_number(tmp_path: Path) -> None:
    for number in (3, 7, 8):
        (tmp_path / "F001" / "T1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "F001" / "T1" / f"{number}.jpg").touch()
    (tmp_path / "F001" / "T1" / "notes.txt").touch()
    index = index_of(tmp_path, ["F001/T1/3.jpg", "F001/T1/8.jpg"], [-1, -1], ["F001", "F001"])
    for name in ("F001_T1.csv", "T1.csv", "F001/T1.csv"):
        out = tmp_path / f"out-{name.replace('/', '-')}"
        sequence(out / name, [(1, 1, 0.9, [1, 0, 0]), (2, 1, 0.9, [2, 0, 0]), (3, 1, 0.9, [3, 0, 0])])
        table = predictions_from_openface_csv(out, index, ENTRY)
        assert table["au-intensity/AU01"].to_pylist() == [1.0, 3.0]
    sequence(tmp_path / "long" / "T1.csv", [(f, 1, 0.9, [1, 0, 0]) for f in range(1, 6)])
    with pytest.raises(DatasetError, match="5 frames, the folder T1 holds 3 pictures"):
        predictions_from_openface_csv(tmp_path / "long", index, ENTRY)


def test_pictures_and_whose_file_it_is(tmp_path: Path) -> None:
    index = index_of(tmp_path, ["a/1.png", "b/1.png", "b/2.png"], [-1] * 3, ["a", "b", "b"])
    picture(tmp_path / "o" / "a" / "1.csv", [(0.9, [1, 2, 3])])
    picture(tmp_path / "o" / "2.csv", [])
    table = predictions_from_openface_csv(tmp_path / "o", index, ENTRY)
    assert table["row"].to_pylist() == [0, 2] and table["face_found"].to_pylist() == [True, False]
    picture(tmp_path / "p" / "1.csv", [(0.9, [1, 2, 3])])
    with pytest.raises(DatasetError, match=r"could belong to 2 things.*\n.*\n.*a/1\.png, b/1\.png"):
        predictions_from_openface_csv(tmp_path / "p", index, ENTRY)
    picture(tmp_path / "q" / "zz.csv", [(0.9, [1, 2, 3])])
    with pytest.raises(DatasetError, match="belongs to nothing"):
        predictions_from_openface_csv(tmp_path / "q", index, ENTRY)
    picture(tmp_path / "o" / "a_1.csv", [(0.9, [1, 2, 3])])
    with pytest.raises(DatasetError, match=r"two files are named after a/1\.png"):
        predictions_from_openface_csv(tmp_path / "o", index, ENTRY)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no CSV file"):
        predictions_from_openface_csv(tmp_path / "empty", index, ENTRY)


def test_files_of_two_versions_are_not_mixed(tmp_path: Path) -> None:
    index = index_of(tmp_path, ["a.png", "b.png"], [-1, -1], ["a", "b"])
    picture(tmp_path / "o" / "a.csv", [(0.9, [1, 2, 3])])
    (tmp_path / "o" / "b.csv").write_text("face,confidence,AU01_r,AU12_r\n0,0.9,1,2\n")
    with pytest.raises(DatasetError, match="other AUs"):
        predictions_from_openface_csv(tmp_path / "o", index, ENTRY)


def test_no_columns_of_the_task(tmp_path: Path) -> None:
    index = index_of(tmp_path, ["a.png"], [-1], ["a"])
    table = predictions_from_openface_csv(picture(tmp_path / "a.csv", [(0.9, [1, 2, 3])]), index, ENTRY)
    with pytest.raises(UsageError, match="no columns for au-occurrence"):
        output_of(table, ENTRY, "au-occurrence")
