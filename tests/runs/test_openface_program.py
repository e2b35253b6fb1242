"""``zoo.eval model=openface2 binary=``: the programs driven over a dataset, with a stand-in that fails as they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runs.openface_twin import disfa
from zoo.datasets import load_index
from zoo.datasets.base import Index
from zoo.errors import ZooError
from zoo.registry import load_registry
from zoo.runs import openface, openface_program
from zoo.runs.openface import units_of
from zoo.runs.openface_program import find_program, plan_jobs, run_openface

STAND_IN = Path(__file__).with_name("openface_stand_in.py")
MODELS = ("main_static_svms.txt", "AU_all_static.txt", "svr_combined/AU_1_static_intensity_comb.dat")


def installation(folder: Path, **habits: str) -> Path:
    """Installs the stand-in as OpenFace's programs; ``habits`` say how it treats an input."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("FeatureExtraction", "FaceLandmarkImg"):
        (folder / name).write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        (folder / name).chmod(0o755)
    for name in MODELS:
        (folder / "AU_predictors" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "AU_predictors" / name).write_text(name)
    behave(folder, **habits)
    return folder


def behave(folder: Path, **habits: str) -> None:
    (folder / "behaviour.json").write_text(json.dumps(habits))


def calls(folder: Path) -> list[str]:
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def evaluate(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zoo.eval", "model=openface2", "resamples=20", *words],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def record_of(folder: Path) -> dict[str, Any]:
    newest = max((folder / "zoo-results" / "results").rglob("*.json"), key=lambda p: p.stat().st_mtime_ns)
    loaded: dict[str, Any] = json.loads(newest.read_text())
    return loaded


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return disfa(tmp_path_factory.mktemp("twin") / "DISFA")


def video(index: Index, place: int) -> str:
    return f"LeftVideo{index.subjects[place]}_comp.avi"


def expected(name: str, frame: int, au: int) -> float:
    """What the stand-in writes."""
    return (sum(map(ord, name)) * 7 + frame * 13 + au * 31) % 501 / 100


def test_videos(twin: Index, tmp_path: Path) -> None:
    program = installation(tmp_path / "bin", **{video(twin, 1): "no-face"})
    words = ("dataset=disfa", f"root={twin.root}", f"binary={program / 'FeatureExtraction'}")
    done = evaluate(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "faces found: 56 of 60" in done.stdout
    assert [c.split()[0] for c in calls(program)] == ["FeatureExtraction"] * 3
    assert all(c.endswith("-aus") for c in calls(program))

    record = record_of(tmp_path)
    runtime = record["runtime"]
    assert runtime["runtime"] == "openface"
    assert len(runtime["version"].split()[1].rstrip(",")) == 12 and "AU models" in runtime["version"]
    assert record["model"]["status"] == "unverified" and record["coverage"]["undecodable"] == 0
    assert any(step.startswith("FeatureExtraction -aus: its dynamic models") for step in record["model"]["steps"])
    labels = twin.labels["au-intensity"]
    mine = np.array([
        [expected(Path(f).stem, n, int(x[2:])) for x in labels.names]
        for f, n in zip(twin.file.tolist(), twin.frame.tolist(), strict=True)
    ])  # fmt: skip
    lost = (twin.subject == twin.subjects[1]) & (twin.frame % 5 == 0)
    mine[lost] = 0
    (mae,) = [s for s in record["views"][0]["scores"] if (s["metric"], s["aggregation"]) == ("mae", "pooled")]
    np.testing.assert_allclose(
        [x["value"] for x in mae["per_label"]], np.abs(mine - labels.values).mean(axis=0), rtol=1e-5
    )

    again = evaluate(*words, cwd=tmp_path)
    assert again.returncode == 0 and "3 of 3 CSV files are there from an earlier run" in again.stderr
    assert len(calls(program)) == 3  # nothing ran again
    assert record_of(tmp_path)["cost"]["resumed"] and record_of(tmp_path)["views"] == record["views"]
    fresh = evaluate(*words, "fresh=true", cwd=tmp_path)
    assert fresh.returncode == 0 and len(calls(program)) == 6


def test_static_models_are_another_contract(twin: Index, tmp_path: Path) -> None:
    program = installation(tmp_path / "bin")
    words = ("dataset=disfa", f"root={twin.root}", "protocol=disfa-intensity-3part")
    contracts = []
    for models in ("default", "static"):
        done = evaluate(*words, f"au_models={models}", cwd=tmp_path, ZOO_OPENFACE=str(program))
        assert done.returncode == 0, done.stderr
        contracts.append(record_of(tmp_path)["model"]["preprocess"])
    assert calls(program)[-1].endswith("-aus -au_static") and len(calls(program)) == 6
    assert contracts[0] != contracts[1]
    assert "FeatureExtraction -aus -au_static: static models" in record_of(tmp_path)["model"]["steps"]


@pytest.mark.parametrize(
    ("habit", "words"),
    [
        ("crash", "FeatureExtraction ended with exit code 134: terminate called after throwing"),
        ("killed", "FeatureExtraction ended with killed by signal 9"),
        ("cut", "no row for 10 of 20 frames"),
        ("silent", "wrote no LeftVideoSN002_comp.csv: Could not open the input file"),
        ("empty", "cannot be read as CSV"),
        ("no-aus", "no AU columns"),
    ],
)
def test_a_failure_is_told_and_the_rest_is_kept(twin: Index, tmp_path: Path, habit: str, words: str) -> None:
    program = installation(tmp_path / "bin", **{video(twin, 1): habit})
    asked = ("dataset=disfa", f"root={twin.root}", f"binary={program}")
    done = evaluate(*asked, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "OpenFace failed on 1 of 3 files; the others are kept" in done.stderr
    assert words in done.stderr and video(twin, 1) in done.stderr
    assert not (tmp_path / "zoo-results").exists()

    behave(program)  # mended
    done = evaluate(*asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 CSV files are there" in done.stderr
    assert [Path(c.split()[2]).name for c in calls(program)] == [video(twin, n) for n in (0, 1, 2, 1)]


def test_an_interrupted_run_goes_on(twin: Index, tmp_path: Path) -> None:
    program = installation(tmp_path / "bin", **{video(twin, 1): "hang"})
    asked = ("dataset=disfa", f"root={twin.root}", f"binary={program}")
    running = subprocess.Popen(
        [sys.executable, "-m", "zoo.eval", "model=openface2", "resamples=20", *asked],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        # Where the tests themselves run in the background of a shell, Ctrl-C is ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    for _ in range(1200):
        if len(calls(program)) == 2:
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and "the same command goes on from there" in said
    (kept,) = (Path(os.environ["ZOO_HOME"]) / "openface").iterdir()
    assert len(list(kept.glob("*.csv"))) == 1 and not list(kept.glob(".run-*"))
    behave(program)
    done = evaluate(*asked, cwd=tmp_path)
    assert done.returncode == 0 and "1 of 3 CSV files are there" in done.stderr
    assert [Path(c.split()[2]).name for c in calls(program)] == [video(twin, n) for n in (0, 1, 1, 2)]


def test_other_models_or_a_touched_file_are_not_taken(twin: Index, tmp_path: Path) -> None:
    program = installation(tmp_path / "bin")
    words = ("dataset=disfa", f"root={twin.root}", f"binary={program}")
    assert evaluate(*words, cwd=tmp_path).returncode == 0
    (kept,) = (Path(os.environ["ZOO_HOME"]) / "openface").iterdir()
    first = min(kept.glob("*.csv"))
    first.write_text(first.read_text().replace("0.98", "0.97"))
    assert evaluate(*words, cwd=tmp_path).returncode == 0
    assert len(calls(program)) == 4  # the touched one
    (program / "AU_predictors" / MODELS[-1]).write_text("other models")
    assert evaluate(*words, cwd=tmp_path).returncode == 0
    assert len(calls(program)) == 7


def test_without_the_program(twin: Index, tmp_path: Path) -> None:
    words = ("dataset=disfa", f"root={twin.root}")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "FeatureExtraction").write_text("")
    cases = (
        ((), "neither binary=, ZOO_OPENFACE nor PATH has it"),
        (("binary=nowhere",), "there is no FeatureExtraction in 'nowhere'"),
        (("binary=plain",), "cannot be executed"),
        (("binary=docker:",), "docker: names no image"),
        (("runtime=openvino",), "no runtime to choose"),
    )
    for extra, said in cases:
        done = evaluate(*words, *extra, cwd=tmp_path, PATH="/nonexistent", ZOO_OPENFACE="")
        usage = extra and extra[0] in ("binary=docker:", "runtime=openvino")
        assert (done.returncode, "Traceback" in done.stderr) == (2 if usage else 3, False), done.stderr
        assert said in done.stderr
    assert "algebr/openface" in evaluate(*words, cwd=tmp_path, PATH="/nonexistent", ZOO_OPENFACE="").stderr
    other = subprocess.run(
        [sys.executable, "-m", "zoo.eval", "model=hog-ridge", "dataset=synthface", "binary=x"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert other.returncode == 2 and "belong to OpenFace's own program" in other.stderr


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16, 3), 127, np.uint8)).save(path)


def pictures(root: Path) -> Path:
    lines = ["path,AU01,AU12"]
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/3.png", "b/4.png")):
        picture(root / name)
        lines.append(f"{name},{number},{(number + 2) % 5}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def test_pictures(tmp_path: Path) -> None:
    """A picture without a face has no CSV file; two of one name are not run together; a crash takes no other down."""
    root = pictures(tmp_path / "pictures")
    program = installation(tmp_path / "bin", **{"3.png": "no-face"})
    words = ("dataset=folder", f"root={root}", "protocol=folder-intensity", f"binary={program}")
    done = evaluate(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "faces found: 4 of 5" in done.stdout
    assert [[Path(w).name for w in c.split() if w.endswith(".png")] for c in calls(program)] == [
        ["1.png", "2.png"], ["1.png", "3.png", "4.png"]
    ]  # fmt: skip
    record = record_of(tmp_path)
    assert record["coverage"]["undecodable"] == 0 and record["contamination"] == "unknown"
    assert "FaceLandmarkImg -aus: static models; the most confident face" in record["model"]["steps"]

    behave(program, **{"4.png": "crash"})
    done = evaluate(*words, "fresh=true", cwd=tmp_path)
    assert done.returncode == 1 and "OpenFace failed on 1 of 5 files" in done.stderr
    assert "exit code 134" in done.stderr and "4.png" in done.stderr


def test_a_folder_of_frames_is_a_sequence(tmp_path: Path) -> None:
    for place in ("S1", "S2"):
        for frame in (1, 2, 3):
            picture(tmp_path / place / f"{frame}.png")
    (tmp_path / "labels.csv").write_text(
        "path,subject,sequence,frame,AU01\n"
        + "".join(f"{s}/{f}.png,{s},{q},{f},1\n" for s, q in (("S1", "one"), ("S2", "")) for f in (1, 2, 3))
    )
    index = load_index("folder", tmp_path)
    jobs = plan_jobs(index, range(len(index)))
    assert [(j.program, j.units) for j in jobs] == [
        ("FeatureExtraction", ("S1/",)), ("FaceLandmarkImg", ("S2/1.png", "S2/2.png", "S2/3.png"))
    ]  # fmt: skip


def test_a_folder_between_whose_frames_another_folder_sorts_is_run_once(tmp_path: Path) -> None:
    lines = ["path,subject,sequence,frame,AU01"]
    for folder, file, sequence, frame in (("S1", "1", "one", 1), ("S1/x", "1", "two", 1), ("S1", "z", "one", 2)):
        picture(tmp_path / folder / f"{file}.png")
        lines.append(f"{folder}/{file}.png,S1,{sequence},{frame},1")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    index = load_index("folder", tmp_path)
    assert [j.units for j in plan_jobs(index, range(len(index)))] == [("S1/",), ("S1/x/",)]


def test_a_large_copy_is_gone_through_once_and_a_cut_manifest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = load_index("folder", pictures(tmp_path / "pictures"))
    program = find_program(str(installation(tmp_path / "bin")))
    passes: list[int] = []
    for module in (openface, openface_program):
        monkeypatch.setattr(module, "units_of", lambda index: passes.append(1) or units_of(index))
    entry = load_registry().get("openface2")
    files, made = run_openface(index, range(len(index)), program, entry)
    assert (len(files), len(passes), made.resumed) == (5, 1, False)
    manifest = next(iter(files.values())).with_name("manifest.jsonl")
    lines = manifest.read_text().splitlines()
    assert len(lines) == 5
    manifest.write_text("\n".join(lines)[:-10])  # killed while the last line was written
    again, made = run_openface(index, range(len(index)), program, entry)
    assert again == files and made.resumed
    assert manifest.read_text().splitlines() == lines
    assert len(calls(tmp_path / "bin")) == 3  # two of the first run, one for the picture that was not in the manifest
    manifest.write_text("\n".join(["{", *lines, ""]))
    with pytest.raises(ZooError, match="manifest is damaged"):
        run_openface(index, range(len(index)), program, entry)


def test_a_container(twin: Index, tmp_path: Path) -> None:
    """A stand-in for docker: it takes the mounts apart, and runs the program on this machine."""
    inside = installation(tmp_path / "inside")
    engine = tmp_path / "path" / "docker"
    engine.parent.mkdir()
    engine.write_text(f"""#!{sys.executable}
import subprocess, sys
words = sys.argv[1:]
if words[0] == "image":
    if words[-1] != "algebr/openface":
        sys.exit("Error: No such image: " + words[-1])
    print("sha256:f43ad4e7")
    sys.exit(0)
assert words[:2] == ["run", "--rm"] and words[2] == "--user"
mounts = dict(words[i + 1].split(":")[1::-1] for i, w in enumerate(words) if w == "-v")
assert [w for w in words if w.endswith(":/data:ro")]
program = words[words.index("--entrypoint") + 1]
assert program.startswith("/home/openface-build/build/bin/")
rest = words[words.index("algebr/openface") + 1:]
for place, real in mounts.items():
    rest = [real + w[len(place):] if w.startswith(place) else w for w in rest]
sys.exit(subprocess.run([{str(inside)!r} + "/" + program.rpartition("/")[2], *rest]).returncode)
""")
    engine.chmod(0o755)
    path = f"{engine.parent}:{os.environ['PATH']}"
    words = ("dataset=disfa", f"root={twin.root}")
    done = evaluate(*words, "binary=docker:algebr/openface", cwd=tmp_path, PATH=path)
    assert done.returncode == 0, done.stderr
    assert record_of(tmp_path)["runtime"]["version"] == "container algebr/openface sha256:f43ad4e7"
    assert len(calls(inside)) == 3
    done = evaluate(*words, "binary=docker:other", cwd=tmp_path, PATH=path)
    assert done.returncode == 3 and "docker pull other" in done.stderr


def test_where_the_programs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = installation(tmp_path / "OpenFace" / "build" / "bin")
    for given in (tmp_path / "OpenFace", program, program / "FeatureExtraction", program / "FaceLandmarkImg"):
        assert find_program(str(given)).folder == program
    monkeypatch.delenv("ZOO_OPENFACE", raising=False)
    monkeypatch.setenv("PATH", str(program))
    assert find_program().folder == program
