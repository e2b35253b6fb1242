"""``zoo.score csv=``: OpenFace's files of a DISFA twin, scored from the command line into a record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs.openface_twin import HEADERS, INTENSITY, answers, disfa, write_sequence
from zoo.datasets.base import Index
from zoo.errors import DatasetError
from zoo.protocols import load_protocol
from zoo.registry import load_registry
from zoo.runs import Settings
from zoo.runs.openface import match_files
from zoo.runs.openface_score import found_files, score_openface


def score(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zoo.score", "resamples=50", *words],
        cwd=cwd, env={**os.environ}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return disfa(tmp_path_factory.mktemp("twin") / "DISFA")


def write_all(index: Index, out: Path, version: str, **more: Any) -> dict[str, np.ndarray]:
    found = {}
    for subject in index.subjects:
        found[subject] = answers(index, subject)
        name = f"LeftVideo{subject}_comp.csv" if version == "2.2" else f"{subject}.csv"
        write_sequence(out / name, found[subject], version, **(more if subject == index.subjects[0] else {}))
    return found


def record_of(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "zoo-results" / "results").rglob("*.json")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def pcc(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("version", HEADERS)
def test_files_become_a_record(twin: Index, tmp_path: Path, version: str) -> None:
    given = write_all(twin, tmp_path / "csv", version, failed=(3, 4), without=(7,))
    done = score("csv=csv", "dataset=disfa", f"root={twin.root}", "protocol=disfa-intensity-3part", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = twin.subjects[0]
    assert "no row for 1 of 20 frames, the first is frame 7" in done.stderr
    assert "faces found: 57 of 60 (95.0 %)" in done.stdout, done.stdout
    assert "1 could not be decoded" in done.stdout
    assert "openface-csv unknown version" in done.stdout

    record = record_of(tmp_path)
    cover = record["coverage"]
    assert [cover[k] for k in ("samples", "detected", "undetected", "undecodable")] == [60, 57, 3, 1]
    assert (record["model"]["name"], record["model"]["status"]) == ("openface2", "unverified")
    assert any("-au_static" in step for step in record["model"]["steps"])
    assert record["contamination"] == "held_out" and record["dataset"]["synthetic"]  # rendered people are not DISFA's

    # The same by hand: a frame without a face is 'absent'.
    labels = twin.labels["au-intensity"]
    truth, mine = [], []
    for subject in twin.subjects:
        values = given[subject].copy()
        if subject == first:
            values[[2, 3, 6]] = 0
        mine.append(values[:, [INTENSITY.index(int(n[2:])) for n in labels.names]])
        truth.append(labels.values[twin.subject == subject])
    expected = [pcc(np.concatenate(truth)[:, i], np.concatenate(mine)[:, i].astype(np.float32)) for i in range(12)]
    (got,) = [s for s in record["views"][0]["scores"] if (s["metric"], s["aggregation"]) == ("pcc", "pooled")]
    assert [x["label"] for x in got["per_label"]] == list(labels.names)
    np.testing.assert_allclose([x["value"] for x in got["per_label"]], expected, rtol=1e-5)
    assert (tmp_path / "zoo-results" / "README.md").exists()


def test_predictions_can_be_scored_again(twin: Index, tmp_path: Path) -> None:
    write_all(twin, tmp_path / "csv", "2.2")
    place = f"root={twin.root}"
    done = score("csv=csv", "dataset=disfa", place, "format=json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (before,) = json.loads(done.stdout)
    (stored,) = Path(os.environ["ZOO_HOME"]).rglob("predictions.parquet")
    assert stored.parent.name == before["predictions"]
    again = score(f"predictions={stored}", place, "format=json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == before["views"]


def test_occurrence_takes_the_c_columns(twin: Index, tmp_path: Path) -> None:
    given = write_all(twin, tmp_path / "csv", "2.2")
    done = score("csv=csv", "dataset=disfa", f"root={twin.root}", "protocol=disfa-occurrence-3fold", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = record_of(tmp_path)
    assert record["model"]["derived"] is None
    labels = twin.labels["au-intensity"]
    (f1,) = [s for s in record["views"][0]["scores"] if (s["metric"], s["aggregation"]) == ("f1", "pooled")]
    for found in f1["per_label"]:
        au = found["label"]
        order = np.concatenate([np.flatnonzero(twin.subject == s) for s in twin.subjects])
        truth = labels.values[order, labels.names.index(au)] >= 2
        said = np.concatenate([given[s] for s in twin.subjects])[:, INTENSITY.index(int(au[2:]))] >= 1
        hits = 2 * int((truth & said).sum())
        total = int(truth.sum() + said.sum())
        assert found["value"] == pytest.approx(hits / total if total else None)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "either predictions= or csv="),
        (("csv=csv", "predictions=a.parquet"), 2, "either predictions= or csv="),
        (("csv=csv",), 2, "csv= needs dataset="),
        (("predictions=a.parquet", "dataset=disfa"), 2, "dataset= belongs to csv="),
        (("csv=csv", "dataset=disfa", "model=hog-ridge"), 2, "does not write OpenFace 2's CSV"),
        (("csv=none", "dataset=disfa"), 2, "'none' does not exist"),
        (("csv=empty", "dataset=disfa"), 2, "no CSV file of OpenFace there"),
        (("csv=other", "dataset=disfa"), 1, "belongs to nothing in the dataset"),
    ],
)
def test_what_is_refused(twin: Index, tmp_path: Path, words: tuple[str, ...], code: int, text: str) -> None:
    write_all(twin, tmp_path / "csv", "2.2")
    write_sequence(tmp_path / "other" / f"RightVideo{twin.subjects[0]}_comp.csv", answers(twin, twin.subjects[0]))
    (tmp_path / "empty").mkdir()
    done = score(*words, *([f"root={twin.root}"] if "dataset=disfa" in words else []), cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert text in done.stderr
    assert not (tmp_path / "zoo-results").exists()


def run(index: Index, folder: Path, **more: Any) -> Any:
    files = match_files(folder, index)
    protocol = load_protocol("disfa-intensity-3part")
    entry = load_registry().get("openface2")
    return score_openface(entry, index, protocol, files, found_files(files), Settings(resamples=20), **more)


def test_a_missing_file_is_not_passed_over(twin: Index, tmp_path: Path) -> None:
    write_all(twin, tmp_path, "2.2")
    (tmp_path / f"LeftVideo{twin.subjects[1]}_comp.csv").unlink()
    with pytest.raises(DatasetError, match=rf"no CSV file .* 1 files(.|\n)*{twin.subjects[1]}(.|\n)*partial=true"):
        run(twin, tmp_path)
    done = run(twin, tmp_path, incomplete=True)
    assert (done.record.coverage.samples, done.record.dataset.complete) == (40, False)
    assert twin.subjects[1] in done.problems[0]
    assert {s.subject for s in done.record.subjects} == {twin.subjects[0], twin.subjects[2]}


def test_a_file_of_another_video_is_refused(twin: Index, tmp_path: Path) -> None:
    values = answers(twin, twin.subjects[0])
    name = f"LeftVideo{twin.subjects[0]}_comp.csv"
    for number, (rows, words) in enumerate((
        (np.vstack([values, values[:5]]), "goes to frame 25, and the video has 20"),
        (values[:15], "no row for 5 of 20 frames"),
        (values[:0], "it has no rows"),
    )):  # fmt: skip
        write_sequence(tmp_path / str(number) / name, rows)
        with pytest.raises(DatasetError, match=words):
            run(twin, tmp_path / str(number), incomplete=True)
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / name).write_text("face,confidence,AU01_r\n0,0.9,1\n")
    with pytest.raises(DatasetError, match="it is a picture's"):
        run(twin, tmp_path / "image", incomplete=True)


def test_real_people_of_disfa_are_in_sample(twin: Index, tmp_path: Path) -> None:
    write_all(twin, tmp_path, "2.2")
    done = run(replace(twin, identities="disfa", synthetic=False), tmp_path)
    assert done.record.contamination == "in_sample"


def test_the_board_takes_the_record(twin: Index, tmp_path: Path) -> None:
    write_all(twin, tmp_path / "csv", "2.2")
    done = score("csv=csv", "dataset=disfa", f"root={twin.root}", "out=boards", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "openface2" in "".join(p.read_text() for p in (tmp_path / "boards").rglob("*.md"))
