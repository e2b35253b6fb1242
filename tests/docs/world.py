"""A folder in which the commands of the pages run: what they name is there, in small, when they first name it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, Command
from tests.docs.stand_ins import is_elsewhere, write_registry
from tests.helpers.records import make_record
from tests.helpers.upload_server import GOOD, UploadServer
from tests.runs.openface_twin import answers, write_sequence
from tests.runs.test_openface_program import installation
from tests.runs.test_openface_svr_score import openface, with_features
from tests.runs.test_twins import ALL_THREE, TREES, XCEPTION, all_three
from zoo.datasets import load_index
from zoo.datasets.synthface import generate
from zoo.latency.pipeline import render_pictures
from zoo.registry import load_registry
from zoo.registry.loading import read_registry_file
from zoo.results import save_record
from zoo.results.record import UsedFile
from zoo.weights import http
from zoo.weights.consent import remember_consent

HUB_DATASET = f"hub:faces/open@{'ab' * 20}"

MEANT: tuple[tuple[str, str], ...] = (
    ("hub:<owner>/<name>@<40 hex digits>", HUB_DATASET),
    ("dataset=<name> root=<folder>", "dataset=disfa root=/data/DISFA"),
    ("csv=<its folder>", "csv=openface-features"),
    ("csv=<folder>", "csv=openface-output"),
    ("openface=<OpenFace folder>", "openface=/opt/OpenFace"),
    ("binary=/path/", "binary=/opt/OpenFace/build/bin/"),
    ("models=a,b", "models=libreface-r18,hog-ridge"),
    ("model=<yours>", f"model={ALL_THREE}"),
    ("model=<name> dataset=...", f"model={XCEPTION} dataset=rafdb root=/data/RAF-DB"),
    ("model=<name>", f"model={XCEPTION}"),
    ("model=...", "model=opencv-fer-mobilefacenet"),  # its licence allows that it is published
    ("dataset=...", "dataset=disfa root=/data/DISFA"),
    ("/data/DISFA", "twins/disfa"),
    ("/data/RAF-DB", "twins/rafdb"),
    ("/data/Aff-Wild2", "twins/affwild2"),
    ("/opt/OpenFace", "OpenFace"),
)
"""What is put for what the pages leave to the reader, and for places on the reader's disk. The first one wins."""

INSTEAD: tuple[tuple[str, str, str | None], ...] = (
    (r"(python -m zoo\.bench (?!.*plan=true).*)", "minutes of measuring, or a GPU", r"\1 plan=true"),
    (r"(python benchmarks/(?:models|protocols)_page\.py)", "writes into the source tree", r"\1 check"),
    (r"(python benchmarks/\w+\.py) run", "minutes of measuring, written into the source tree", r"\1 check"),
    (r"(python benchmarks/faces\.py) measure work", "needs what MediaPipe 0.10.21 wrote before", r"\1 check"),
    (r"python benchmarks/walk\.py", "runs the commands of a page, which are run here one by one", None),
    (r"other/bin/.*|git clone .*", "MediaPipe 0.10.21 and a clone of LibreFace, in an environment of their own", None),
    (r"python3 -m venv .*|\S*pip install .*", "makes an environment, as CI does before it runs this", None),
    (r"\.venv/bin/python -m pytest|make (?:style|quality|test)", "CI itself, which runs this", None),
    (r"sha256sum file", "not of this project", None),
)
"""Commands that are not run as they stand: a pattern of the whole, why, and what is run of them, if anything is."""

KEYS_OF_PLACES = (
    "root", "input", "csv", "predictions", "models", "binary", "openface", "calibrate", "against", "registry", "config",
)  # fmt: skip


def stands_for(text: str) -> str | None:
    """Returns what is run for a command of a page; None for nothing."""
    for pattern, _, other in INSTEAD:
        if match := re.fullmatch(pattern, text):
            return match.expand(other) if other else None
    return text


def filled(text: str) -> str:
    """Puts in what a page leaves to the reader.

    Raises:
        AssertionError: Nobody has said what something stands for.
    """
    for what, meant in MEANT:
        text = text.replace(what, meant)
    left = re.findall(r"<[^>]*>|\.\.\.|…", text)
    assert not left, f"{text}: tests/docs/world.py does not say what {', '.join(left)} stands for"
    return text


@dataclass(frozen=True)
class Done:
    """A command that was run."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it printed."""
        return f"{self.out}\n{self.err}"


class World:
    """The folder.

    Args:
        folder: Empty.
        hub: Where the stand-ins are fetched from, and what is published goes to.
        commands: All commands of the pages: one may need what another has made.
    """

    def __init__(self, folder: Path, hub: UploadServer, commands: Sequence[Command]) -> None:
        self.folder, self.hub = folder / "clone", hub
        self.home = folder / "home"
        self.folder.mkdir()
        self.commands: dict[str, str] = {}
        for command in commands:
            with contextlib.suppress(AssertionError):  # its own test says what is missing
                self.commands[command.text] = f"{filled(command.text)} "
        self._done: dict[str, Done] = {}
        named = {
            name
            for text in self.commands.values()
            for _, names in re.findall(r"\b(models?)=(\S+)", text)
            for name in names.split(",")
        }
        entries = read_registry_file(ROOT / "registry.yaml").models
        absent = [e for e in entries if is_elsewhere(e) and any(fnmatchcase(e.name, n) for n in named)]
        extra = folder / "registries"
        self.registries = [write_registry(absent, extra, hub), all_three(extra)]
        with self.inside():
            for entry in absent:
                remember_consent(entry.licence)

    @contextlib.contextmanager
    def inside(self) -> Iterator[pytest.MonkeyPatch]:
        """Sets the folder, the cache, the registries and the Hub, and makes less of what is rendered."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("ZOO_HOME", str(self.home))
            patch.setenv("ZOO_REGISTRY", os.pathsep.join(map(str, self.registries)))
            patch.setenv("HF_ENDPOINT", self.hub.url)
            patch.setenv("HF_TOKEN", GOOD)
            for name in ("NO_PROXY", "no_proxy"):
                patch.setenv(name, ",".join(filter(None, [os.environ.get(name), "127.0.0.1"])))
            patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
            patch.setattr(http, "BACKOFF_S", 0.001)
            patch.setattr("zoo.datasets.synthface.generate", _small)
            patch.setattr("zoo.latency.pipeline.render_pictures", _few)
            patch.setattr("zoo.runs.readings.PEOPLE", 1)
            yield patch

    def run(self, text: str) -> Done:
        """Runs a command of a page, once, with fewer resamples: what it names is made first."""
        if text not in self._done:
            instead = stands_for(text)
            assert instead is not None, f"{text} is not run"
            words = shlex.split(filled(instead))
            if {"zoo.compare", "zoo.eval", "zoo.score"} & {*words}:
                words.append("resamples=200")
            with self.inside() as patch:
                self._supply(words, patch)
                self._done[text] = self._call(words, patch)
        return self._done[text]

    def earlier(self, *parts: str) -> Done:
        """Runs the first command of the pages that has these parts, which has to succeed."""
        text = next((t for t, words in self.commands.items() if all(p in words for p in parts)), "")
        assert text, f"no page has a command with {parts}"
        done = self.run(text)
        if done.code and "INFERENCE_PRECISION_HINT" in done.err:
            pytest.skip("this processor does not compute in bf16")
        assert done.code == 0, f"{text}\n{done.err}"
        return done

    def _call(self, words: Sequence[str], patch: pytest.MonkeyPatch) -> Done:
        run: Callable[[], Any]
        match words:
            case ["zoo", *given] | ["python", "-m", "zoo", *given]:
                run = lambda: import_module("zoo.cli").main(given)  # noqa: E731
            case ["python", "-m", module, *given]:
                run = lambda: import_module(module).main(given)  # noqa: E731
            case ["python", "-c", code]:
                run = lambda: exec(code, {})  # noqa: E731
            case ["python", script, *given]:
                patch.setattr(sys, "argv", [script, *given])
                run = lambda: runpy.run_path(str(ROOT / script), run_name="__main__") and 0  # noqa: E731
            case ["cat", file]:
                run = lambda: print(Path(file).read_text(encoding="utf-8"), end="")  # noqa: E731
            case ["export", variable]:
                name, _, value = variable.partition("=")
                patch.setenv(name, value)
                dataset = re.fullmatch(r"ZOO_(\w+)_ROOT", name)
                assert dataset, f"{name}: no test knows what it is for"
                run = lambda: import_module("zoo.check").main([f"dataset={dataset[1].lower()}"])  # noqa: E731
            case _:
                raise AssertionError(f"{shlex.join(words)}: tests/docs/world.py does not know how to run this")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = run()
            except SystemExit as end:  # a script's: a text is a failure, as for the interpreter
                code = end.code
        if isinstance(code, str):
            print(code, file=err)
        home, whole = str(self.home), "~/.cache/libreface-zoo"
        shown = [text.getvalue().replace(home, whole) for text in (out, err)]
        return Done(1 if isinstance(code, str) else int(code or 0), *shown)

    def path(self, printed: str) -> Path:
        """Returns a path that a command printed."""
        return self.folder / printed.replace("~/.cache/libreface-zoo", str(self.home))

    # What the commands name ---------------------------------------------------------------------------------------

    def _supply(self, words: Sequence[str], patch: pytest.MonkeyPatch) -> None:
        if "zoo.render" in words:
            return
        for word in words[1:]:
            key, _, value = word.rpartition("=")
            for part in value.split(","):
                if key == "root" or key.endswith("_ROOT"):
                    self._tree(part)
                name = next((n for n in _MAKERS if part == n or part.startswith(f"{n}/")), None)
                if name and not (self.folder / name).exists():
                    _MAKERS[name](self)
                place = key in KEYS_OF_PLACES and (part.endswith(".parquet") if key == "models" else part != "true")
                if place:
                    assert (self.folder / part).exists(), f"{word}: tests/docs/world.py does not supply '{part}'"
                for needed in _NEEDED.get(part, ()) if key == "models" else ():
                    self.earlier(*needed)
        if "zoo.leaderboard" in words:
            _MAKERS["leaderboards"](self)
            if "check=true" in words:  # of boards that were drawn just now
                assert self._call(["python", "-m", "zoo.leaderboard"], patch).code == 0
        if "dataset=affwild2" in words and not any(w.startswith("root=") for w in words):
            self._tree("twins/affwild2")
            patch.setenv("ZOO_AFFWILD2_ROOT", str(self.folder / "twins" / "affwild2"))

    def _tree(self, root: str) -> None:
        """Renders a tree by the page's own command for it."""
        if root.startswith("twins/"):
            self.earlier("zoo.render", f"root={root} ")

    def _faces(self, name: str, people: int, each: int) -> list[Path]:
        render_pictures(self.folder / name, people=people, each=each, size=(320, 320))
        return sorted((self.folder / name).glob("*.jpg"))

    def photograph(self) -> None:
        self.earlier("python -c", "photo.jpg")

    def answers(self) -> None:
        self.earlier("zoo.predict model=fer-mini-xception ")

    def my_pictures(self) -> None:
        for picture in self._faces("my-pictures", 4, 6):
            person = int(picture.name[:2])
            folder = picture.parent / ("anger", "happiness", "neutral", "surprise")[person]
            folder.mkdir(exist_ok=True)
            picture.rename(folder / picture.name)

    def my_frames(self) -> None:
        lines = ["path,subject,AU01,AU12"]
        for number, picture in enumerate(self._faces("my-frames", 3, 4)):
            lines.append(f"{picture.name},{picture.name[:2]},{number % 5},{(number * 3 + 2) % 6}")
        (self.folder / "my-frames" / "labels.csv").write_text("\n".join(lines) + "\n")

    def photographs(self) -> None:
        self._faces("folder-of-photos", 2, 1)

    def hub_dataset(self) -> None:
        repo, _, commit = HUB_DATASET.removeprefix("hub:").partition("@")
        files = {"README.md": b"---\nlicense: cc0-1.0\n---\n"}
        for number, picture in enumerate(self._faces("of-the-hub", 3, 3)):
            files[f"test/{('angry', 'happy', 'meh')[number // 3]}/{picture.name}"] = picture.read_bytes()
        self.hub.add_dataset(repo, commit, files)

    def openface_files(self) -> None:
        self._tree("twins/disfa")
        index = load_index("disfa", self.folder / "twins" / "disfa")
        for subject in index.subjects:
            file = write_sequence(
                self.folder / "openface-output" / f"LeftVideo{subject}_comp.csv", answers(index, subject)
            )
            (self.folder / "openface-features").mkdir(exist_ok=True)
            with_features(Path(shutil.copy(file, self.folder / "openface-features")))

    def openface_program(self) -> None:
        installation(self.folder / "OpenFace" / "build" / "bin")
        openface(self.folder / "OpenFace")

    def leaderboards(self) -> None:
        """A record that is ranked, and the boards as they were before this clone's."""
        if (self.folder / "leaderboards").exists():
            return
        entry = load_registry().get("libreface-r18")
        record = make_record(entry.name, protocol="rafdb-expression@1")
        files = tuple(UsedFile(name=w.name, sha256=w.sha256 or "") for w in entry.weights)
        about = {"contract": entry.contract_hash, "weights": files, "status": entry.status}
        record = record.model_copy(update={"model": record.model.model_copy(update=about)})
        for folder in (self.folder, self.folder.parent / "before"):
            save_record(record, folder / "leaderboards")

    def _predictions(self, name: str, *parts: str) -> None:
        said = re.search(r"^predictions: (.+)$", self.earlier(*parts).err, re.M)
        assert said, f"zoo.eval does not say where the predictions are: {parts}"
        shutil.copy(self.path(said[1]), self.folder / name)


def _few(folder: Path, **asked: Any) -> None:
    render_pictures(folder, people=2, each=1, size=(320, 240))


def _small(layout: str, root: Path, **asked: Any) -> Path:
    """Renders a tree as :func:`generate`, no larger than the tests' own."""
    most = TREES.get(layout, {})
    for name in ("subjects", "frames", "images"):
        if name in most:
            asked[name] = min(asked.get(name) or most[name], most[name])
    if "size" in most:
        asked["size"] = most["size"]
    return generate(layout, root, **{**asked, "workers": 1, "progress": False})


_DISFA = ("zoo.eval", "dataset=disfa ", "root=twins/disfa ")
_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "libreface-r18": ((*_DISFA, "model=libreface-r18 "),),
    "openface2": ((*_DISFA, "model=openface2 "),),
    "hog-ridge": ((*_DISFA, "model=hog-ridge "),),
}
"""Whose predictions have to be stored before models are compared."""

_SYNTHFACE = ("zoo.eval", "model=hog-ridge ", "dataset=synthface ")
_MAKERS: dict[str, Callable[[World], None]] = {
    "photo.jpg": World.photograph,
    "my-pictures": World.my_pictures,
    "my-frames": World.my_frames,
    "folder-of-photos": World.photographs,
    HUB_DATASET: World.hub_dataset,
    "openface-output": World.openface_files,
    "openface-features": World.openface_files,
    "OpenFace": World.openface_program,
    "leaderboards": World.leaderboards,
    "../before/leaderboards": World.leaderboards,
    "zoo-predictions/fer-mini-xception.csv": World.answers,
    "predictions.parquet": lambda w: w._predictions("predictions.parquet", *_DISFA, "model=hog-ridge "),
    "fp32.parquet": lambda w: w._predictions("fp32.parquet", *_SYNTHFACE, "precision=fp32"),
    "bf16.parquet": lambda w: w._predictions("bf16.parquet", *_SYNTHFACE, "precision=bf16"),
}
"""What makes the files and folders that commands name."""
