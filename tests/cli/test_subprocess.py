"""The verbs as a person runs them: whole path, exit codes, kill and resume, bad files."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image

from tests.helpers.tiny import tiny_pictures, tiny_registry


def zoo(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a verb in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", f"zoo.{words[0]}", *words[1:]],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def scores(out: Path) -> dict[str, Any]:
    """Returns what must be equal between two runs of the same thing."""
    (path,) = (out / "results").rglob("*.json")
    record = json.loads(path.read_text())
    return {k: record[k] for k in ("model", "protocol", "dataset", "coverage", "views", "predictions")}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the tiny model's registry and 36 pictures."""
    tiny_registry(tmp_path)
    tiny_pictures(tmp_path / "pictures")
    return tmp_path


EVAL = ("eval", "model=tiny", "dataset=folder", "root=pictures", "registry=tiny.yaml")


def test_the_whole_path_of_one_number(place: Path) -> None:
    done = zoo(*EVAL, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "faces found: 36 of 36 (100 %)" in done.stdout
    assert "training data: unknown" in done.stdout
    (path,) = (place / "zoo-results" / "results").rglob("*.json")
    record = json.loads(path.read_text())
    by_name = {(s["metric"], s["aggregation"]): s for s in record["views"][0]["scores"]}
    accuracy = by_name["accuracy", "pooled"]["mean"]
    assert accuracy["value"] == pytest.approx(30 / 36)  # two of twelve are painted wrong in each class
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert record["model"]["weights"][0]["name"] == "tiny.onnx"
    assert str(path.relative_to(place)) in done.stderr
    assert (place / "zoo-results" / "README.md").exists()
    assert (place / "zoo-results" / f"{record['protocol']['ref']}.csv").exists()


def assert_scores_are(text: str, views: list[dict[str, Any]]) -> pd.DataFrame:
    """Holds a CSV of scores against a record's views: every number, to the last digit, under the same names."""
    table = pd.read_csv(io.StringIO(text))
    expected = []
    for view in views:
        for score in view["scores"]:
            means = {k: score[k] for k in ("mean", "mean_defined", "mean_strict", "mean_missing_zero") if score[k]}
            for one in [*score["per_label"], *({"label": k, "n": view["samples"], **v} for k, v in means.items())]:
                expected.append({"rule": view["rule"], "metric": score["metric"], **one})
                expected[-1]["aggregation"] = score["aggregation"]
    names = ["rule", "metric", "aggregation", "label"]
    assert table[names].to_dict("records") == [{k: one[k] for k in names} for one in expected]
    for column in ("value", "low", "high", "n", "n_pos", "threshold"):
        assert pd.api.types.is_numeric_dtype(table[column])
        values = [one.get(column) for one in expected]
        assert [None if math.isnan(x) else x for x in table[column]] == values
    return table


def test_data_goes_to_stdout_in_the_format_asked_for(place: Path) -> None:
    document = json.loads(zoo(*EVAL, "format=json", cwd=place).stdout)
    assert document[0]["model"]["name"] == "tiny"
    table = assert_scores_are(zoo(*EVAL, "format=csv", cwd=place).stdout, document[0]["views"])
    assert set(table.contamination) == {document[0]["contamination"]} and not table.synthetic.any()


def test_runtimes_give_the_same_scores(place: Path) -> None:
    for runtime in ("onnxruntime", "openvino"):
        done = zoo(*EVAL, f"runtime={runtime}", f"out={runtime}", cwd=place)
        assert done.returncode == 0, done.stderr
    a, b = scores(place / "onnxruntime"), scores(place / "openvino")
    assert a["views"] == b["views"]
    assert a["predictions"] != b["predictions"]  # two runtimes never share stored predictions


def test_stored_predictions_are_used_again_and_scored_again(place: Path) -> None:
    first = zoo(*EVAL, "out=a", cwd=place)
    again = zoo(*EVAL, "out=b", cwd=place)
    assert "predictions are stored already" in again.stderr
    assert scores(place / "a") == scores(place / "b")
    assert first.returncode == again.returncode == 0
    home = Path(os.environ["ZOO_HOME"])
    (stored,) = home.rglob("predictions.parquet")
    done = zoo("score", f"predictions={stored}", "root=pictures", "registry=tiny.yaml", "format=json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == scores(place / "a")["views"]
    done = zoo("score", f"predictions={stored}", "root=pictures", "registry=tiny.yaml", "format=csv", cwd=place)
    assert_scores_are(done.stdout, scores(place / "a")["views"])


def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(tmp_path: Path) -> None:
    tiny_registry(tmp_path)
    tiny_pictures(tmp_path / "pictures", 900, wrong=100, side=96)
    whole = zoo(*EVAL, "out=whole", cwd=tmp_path, ZOO_HOME=str(tmp_path / "home-1"))
    assert whole.returncode == 0, whole.stderr
    home = tmp_path / "home-2"
    command = [sys.executable, "-m", f"zoo.{EVAL[0]}", *EVAL[1:], "out=killed"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "ZOO_HOME": str(home)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while len(list(home.rglob("parts/[0-9]*.parquet"))) < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = len(list(home.rglob("parts/[0-9]*.parquet")))
    assert not list(home.rglob("predictions.parquet"))
    done = zoo(*EVAL, "out=killed", cwd=tmp_path, ZOO_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stderr
    samples = int(done.stderr.split("going on after ")[1].split()[0])
    assert samples >= 64 * (kept - 1)  # finished batches are not done again
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")


def test_a_damaged_picture_is_named_counted_and_scored_wrong(place: Path) -> None:
    victim = place / "pictures" / "happiness" / "00005.png"
    victim.write_bytes(victim.read_bytes()[:60])
    done = zoo(*EVAL, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "happiness/00005.png" in done.stderr or "00005.png" in done.stderr
    assert "1 could not be decoded" in done.stdout
    assert "faces found: 35 of 36" in done.stdout
    views = scores(place / "zoo-results")["views"]
    assert [v["rule"] for v in views] == ["undetected-as-error", "undetected-skipped"]
    values = [
        next(s["mean"]["value"] for s in v["scores"] if (s["metric"], s["aggregation"]) == ("accuracy", "pooled"))
        for v in views
    ]
    assert values == pytest.approx([29 / 36, 29 / 35])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("eval", "model=tiny", "dataset=folder", "rot=x"), 2, "unknown key 'rot'"),
        (("eval", "model=libreface-r81", "dataset=disfa"), 2, "libreface-r18"),
        (("eval", "model=libreface-r18", "dataset=dsfa"), 2, "disfa"),
        (("eval", "model=libreface-r18", "dataset=disfa"), 3, "ZOO_DISFA_ROOT"),
        (("eval", "model=libreface-r18", "dataset=disfa", "root=nowhere"), 3, "nowhere"),
        (("eval", "model=libreface-r18", "dataset=disfa", "root=."), 3, "DISFA"),
        (("eval", "model=hog-ridge", "dataset=rafdb"), 2, "rafdb has no protocol for au-intensity"),
        (("eval", "model=feat-*", "dataset=disfa"), 2, "none of feat-faceboxes, feat-mtcnn, "),
        (("eval", "model=libreface-r18", "dataset=disfa", "protocol=disfa-intensity-6fold"), 2, "intensity-5fold"),
        (("fetch", "model=libreface-r18", "offline=true"), 3, "LibreFace_AU_Encoder.onnx"),
        (("predict", "model=hog-ridge", "input=none.jpg"), 2, "none.jpg"),
        (("leaderboard", "out=nowhere"), 1, "nowhere"),
        (("score", "predictions=nowhere.parquet"), 1, "nowhere.parquet"),
        (("check",), 2, "say what to check"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_clear_error_without_traceback(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = zoo(*words, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []  # nothing half-written is left behind


def test_weights_swapped_under_the_registry_are_refused(place: Path) -> None:
    (place / "tiny.onnx").write_bytes(b"not what it was")
    done = zoo(*EVAL, cwd=place)
    assert done.returncode == 1
    assert "tiny.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_contract_that_the_file_does_not_keep_is_refused(tmp_path: Path) -> None:
    labels = {"task": "expression", "labels": ["anger", "happiness", "neutral", "fear"]}
    tiny_registry(tmp_path, outputs=[labels])
    tiny_pictures(tmp_path / "pictures", 2, wrong=0)
    done = zoo(*EVAL, cwd=tmp_path)
    assert done.returncode == 1
    assert "tiny" in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_writes_a_csv_and_a_drawn_picture(place: Path) -> None:
    done = zoo("predict", "model=tiny", "input=pictures/anger", "registry=tiny.yaml", "out=seen", cwd=place)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((place / "seen" / "tiny.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert [r["expression"] for r in rows].count("anger") == 10
    assert {r["success"] for r in rows} == {"1"}
    with Image.open(place / "seen" / "00000.tiny.png") as drawn:
        assert drawn.format == "PNG"
        assert min(drawn.size) > 100
    assert str(Path("seen") / "tiny.csv") in done.stdout


def test_predict_tells_of_pictures_it_cannot_read_and_goes_on(place: Path) -> None:
    (place / "pictures" / "anger" / "empty.jpg").write_bytes(b"")
    done = zoo("predict", "model=tiny", "input=pictures/anger", "registry=tiny.yaml", "draw=false", cwd=place)
    assert done.returncode == 0
    assert "empty.jpg" in done.stderr
    rows = list(csv.DictReader((place / "zoo-predictions" / "tiny.csv").read_text().splitlines()))
    assert [r["success"] for r in rows if r["file"] == "empty.jpg"] == ["0"]
    assert len(rows) == 13


def test_check_compares_records(place: Path) -> None:
    assert zoo(*EVAL, "out=a", cwd=place).returncode == 0
    assert zoo("check", "records=a", "against=a", cwd=place).returncode == 0
    moved = place / "pictures" / "anger" / "00011.png"
    moved.unlink()
    assert zoo(*EVAL, "out=b", cwd=place).returncode == 0
    done = zoo("check", "records=b", "against=a", cwd=place)
    assert done.returncode == 1
    assert "moved without a new version" in done.stderr


def test_help_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "zoo.eval", "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "dataset=" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"numpy", "pydantic", "yaml", "tqdm", "torch", "onnxruntime", "openvino", "pandas", "PIL"}


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    for words in (("zoo",), ("zoo.eval", "--help"), ("zoo.show",)):
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()  # as `| head` does
        _, said = process.communicate(timeout=60)
        assert "Traceback" not in said
        assert "BrokenPipe" not in said


def test_one_models_failure_does_not_stop_the_others(place: Path) -> None:
    words = (
        "eval",
        "model=tiny,libreface-r18",
        "dataset=folder",
        "root=pictures",
        "registry=tiny.yaml",
        "offline=true",
    )
    done = zoo(*words, cwd=place)
    assert done.returncode == 3
    assert "error: libreface-r18" in done.stderr
    assert "1 of 2 evaluations failed" in done.stderr
    assert scores(place / "zoo-results")["model"]["name"] == "tiny"


def test_a_model_without_a_protocol_here_does_not_stop_the_others(place: Path) -> None:
    done = zoo(*EVAL[:1], "model=tiny,hog-ridge", *EVAL[2:], cwd=place)
    assert done.returncode == 2
    assert "error: hog-ridge: this copy of folder has no labels for au-intensity" in done.stderr
    assert "1 of 2 evaluations failed" in done.stderr
    assert scores(place / "zoo-results")["model"]["name"] == "tiny"


def test_several_results_are_one_csv_table(place: Path) -> None:
    path = place / "tiny.yaml"
    data = yaml.safe_load(path.read_text())
    data["models"].append({**data["models"][0], "name": "twin"})
    path.write_text(yaml.safe_dump(data))
    done = zoo(*EVAL[:1], "model=tiny,twin", *EVAL[2:], "format=csv", cwd=place)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    half = len(rows) // 2
    assert [r["model"] for r in rows] == ["tiny"] * half + ["twin"] * half
    assert [r["label"] for r in rows[:half]] == [r["label"] for r in rows[half:]]


def test_submitting_prints_the_steps(place: Path) -> None:
    done = zoo(*EVAL, "submit=true", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "zoo.leaderboard" in done.stderr


def test_a_folder_that_cannot_be_written_to_is_one_clear_error(place: Path) -> None:
    (place / "taken").write_text("a file")
    predict = ("predict", "model=tiny", "input=pictures", "registry=tiny.yaml", "out=taken")
    for words in ((*EVAL, "out=taken/x"), predict):
        done = zoo(*words, cwd=place)
        assert done.returncode == 1, done.stderr
        assert "cannot be used" in done.stderr and "taken" in done.stderr
        assert "Traceback" not in done.stderr


def test_pictures_of_one_stem_are_drawn_apart_and_what_was_drawn_is_no_input(place: Path) -> None:
    with Image.open(place / "pictures" / "anger" / "00000.png") as picture:
        picture.save(place / "pictures" / "anger" / "00000.bmp")
    for _ in range(2):
        done = zoo("predict", "model=tiny", "input=.", "registry=tiny.yaml", cwd=place)
        assert done.returncode == 0, done.stderr
        out = place / "zoo-predictions"
        rows = list(csv.DictReader((out / "tiny.csv").read_text().splitlines()))
        assert len({r["file"] for r in rows}) == len(rows) == 37
        drawn = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png"))
        assert len(drawn) == 37
        assert [d for d in drawn if "anger/00000" in d] == [
            "anger/00000.bmp.tiny.png", "anger/00000.png.tiny.png"
        ]  # fmt: skip


def test_stored_predictions_are_found_by_a_pattern(place: Path) -> None:
    assert zoo(*EVAL, cwd=place).returncode == 0
    pattern = Path(os.environ["ZOO_HOME"]) / "predictions" / "tiny" / "*" / "predictions.parquet"
    words = ("score", f"predictions={pattern}", "root=pictures", "registry=tiny.yaml")
    done = zoo(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "36 samples" in done.stderr
    assert zoo(*EVAL, "runtime=openvino", "precision=bf16", cwd=place).returncode == 0
    shown = zoo(*words, cwd=place).stdout  # two runs of one model are told apart
    assert "onnxruntime fp32" in shown and "openvino bf16" in shown


def test_predictions_of_an_older_contract_are_told(place: Path) -> None:
    assert zoo(*EVAL, cwd=place).returncode == 0
    (stored,) = Path(os.environ["ZOO_HOME"]).rglob("predictions.parquet")
    words = ("score", f"predictions={stored}", "root=pictures", "registry=tiny.yaml")
    assert "under the contract" not in zoo(*words, cwd=place).stderr
    path = place / "tiny.yaml"
    path.write_text(path.read_text().replace("architecture: tiny", "architecture: tiny-2"))
    done = zoo(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "was predicted under the contract" in done.stderr


def test_of_several_predictions_each_says_whose_it_is(place: Path) -> None:
    for runtime in ("onnxruntime", "openvino"):
        assert zoo(*EVAL, f"runtime={runtime}", cwd=place).returncode == 0
    stored = ",".join(map(str, Path(os.environ["ZOO_HOME"]).rglob("predictions.parquet")))
    done = zoo(
        "score", f"predictions={stored}", "root=pictures", "registry=tiny.yaml", "format=json", cwd=place
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    documents = json.loads(done.stdout)
    assert [(d["model"], d["protocol"].partition("@")[0]) for d in documents] == [("tiny", "folder-expression")] * 2
    assert documents[0]["views"] == documents[1]["views"]


def test_a_readme_of_somebodys_own_is_not_overwritten(place: Path) -> None:
    (place / "README.md").write_text("# My project\n")
    done = zoo(*EVAL, "out=.", cwd=place)
    assert done.returncode == 2
    assert "is no leaderboard" in done.stderr
    assert (place / "README.md").read_text() == "# My project\n"
    for _ in range(2):  # its own leaderboard is drawn again
        assert zoo(*EVAL, "out=results-here", cwd=place).returncode == 0
