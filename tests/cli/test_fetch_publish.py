"""Licences at the command line: shown and accepted before a download, and obeyed before an upload."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.helpers.tiny import LABELS, tiny_entry, tiny_model, tiny_pictures, tiny_registry
from tests.helpers.upload_server import GOOD, UploadServer
from tests.weights.hub_server import HubServer
from zoo import fetch, predict, publish
from zoo._util.files import sha256_of, zoo_home
from zoo.errors import WeightsError
from zoo.weights import consent

RESEARCH = {"name": "Research Licence", "commercial_use": False, "url": "https://example.org/terms", "note": "Ask us."}
COMMIT = "a" * 40


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("ZOO_HUB_MIRROR", raising=False)
        yield server


@pytest.fixture
def registry(tmp_path: Path, hub: HubServer) -> str:
    """A registry of four models on the Hub: one free, two under a research licence, one of unclear terms."""
    import yaml

    model = tmp_path / "tiny.onnx"
    tiny_model(model)
    hub.add_file("me/tiny", COMMIT, "tiny.onnx", model.read_bytes())
    licences: dict[str, dict[str, Any]] = {
        "free": {"name": "Apache-2.0", "commercial_use": True},
        "research": RESEARCH,
        "research-two": RESEARCH,
        "unclear": {"name": "none stated", "commercial_use": "unknown"},
    }
    models = []
    for name, licence in licences.items():
        entry = tiny_entry(model, name=name, licence=licence)
        # One file serves all; the cache keeps it under each name.
        entry["weights"][0] |= {"name": f"{name}.onnx", "sources": [f"hf:me/tiny@{COMMIT}:tiny.onnx"]}
        models.append(entry)
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump({"schema_version": 1, "models": models}))
    return f"registry={path}"


def consents() -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted((zoo_home() / "licences").glob("*.json"))]


def short_suite(folder: Path) -> Path:
    """A suite of one case that measures for a moment."""
    path = folder / "short.yaml"
    path.write_text(
        "{name: short, version: 1, title: One case, models: ['*'], threads: [1], baseline: {runtime: onnxruntime}, "
        "runtimes: [{runtime: onnxruntime}], scenarios: [{name: SingleStream}], "
        "measure: {seconds: 0.2, slice: 0.05, rounds: 4, most: 1, queries: {SingleStream: 4}, warm_up: 0.2}}"
    )
    return path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_free_licence_is_shown_and_not_asked_about(registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["model=free", registry]) == 0
    seen = capsys.readouterr()
    assert "free: Apache-2.0" in seen.err
    assert "warning" not in seen.err
    assert Path(seen.out.strip()).name == "free.onnx"
    assert consents() == []


@pytest.mark.parametrize("name", ["research", "unclear"])
def test_without_consent_nothing_is_downloaded_and_the_command_that_gives_it_is_named(
    name: str, registry: str, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main([f"model={name}", registry]) == 3
    seen = capsys.readouterr()
    assert seen.out == ""
    assert f"python -m zoo.fetch model={name} {registry} accept_license=true" in seen.err
    assert "commercial use is" in seen.err
    assert hub.seen == []
    assert consents() == []


def test_consent_is_remembered_for_the_licence_and_not_for_others(
    registry: str, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(["model=research", registry, "accept_license=true"]) == 0
    (kept,) = consents()
    assert (kept["name"], kept["url"]) == (RESEARCH["name"], RESEARCH["url"])
    assert len(kept["date"]) == 10
    assert fetch.main(["model=research-two", registry]) == 0  # the same licence, another model
    capsys.readouterr()
    assert fetch.main(["model=unclear", registry]) == 3
    assert len(consents()) == 1


def test_of_several_models_none_is_fetched_before_all_licences_are_accepted(
    registry: str, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(["model=free,research", registry]) == 3
    assert capsys.readouterr().out == ""
    assert hub.seen == []


def test_of_several_models_one_that_cannot_be_had_does_not_stop_the_others(
    registry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    path = Path(registry.removeprefix("registry="))
    data = yaml.safe_load(path.read_text())
    gone = copy.deepcopy(data["models"][0]) | {"name": "gone"}
    gone["weights"][0] |= {"name": "gone.onnx", "sources": [f"hf:me/tiny@{COMMIT}:gone.onnx"]}
    path.write_text(yaml.safe_dump({**data, "models": [gone, *data["models"]]}))
    assert fetch.main(["model=gone,free,feat-*", registry]) == 3  # feat-*: known by their figures, nothing to fetch
    seen = capsys.readouterr()
    assert Path(seen.out.strip()).name == "free.onnx"
    assert "error: gone: gone.onnx" in seen.err and "1 of 2 models could not be fetched" in seen.err


def test_the_same_name_at_another_address_is_another_licence(tmp_path: Path, registry: str) -> None:
    from zoo.registry.schema import Licence
    from zoo.weights.consent import has_consented, remember_consent

    old = Licence(name="Terms", commercial_use=False, url="https://example.org/2024")
    remember_consent(old)
    assert has_consented(old)
    assert not has_consented(old.model_copy(update={"url": "https://example.org/2026"}))
    assert not has_consented(old.model_copy(update={"name": "terms"}))


def test_terms_that_have_changed_are_asked_about_again() -> None:
    from zoo.registry.schema import Licence
    from zoo.weights.consent import has_consented, remember_consent

    old = Licence(name="Terms", commercial_use="unknown", note="Ask us.")
    new = old.model_copy(update={"commercial_use": False})
    remember_consent(old)
    assert has_consented(old) and not has_consented(new)
    remember_consent(new)
    assert has_consented(new)
    assert len(consents()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "input={pictures}", "out={out}"],
        ["eval", "dataset=folder", "root={pictures}", "out={out}"],
        ["export", "runtime=onnxruntime", "out={out}"],
        ["check", "out={out}"],
        ["publish", "repo=me/tiny", "dry_run=true", "i_may_redistribute=true", "out={out}"],
        ["bench", "suite={suite}", "out={out}"],
    ],
    ids=lambda words: words[0],
)
def test_no_verb_downloads_before_consent_and_all_use_what_is_here(
    words: list[str], registry: str, hub: HubServer, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    verb, *rest = words
    places = {
        "pictures": tiny_pictures(tmp_path / "pictures", 2),
        "out": tmp_path / "out",
        "suite": short_suite(tmp_path),
    }
    given = ["model=research", registry, *(word.format_map(places) for word in rest)]
    main = import_module(f"zoo.{verb}").main
    assert main(given) == 3
    error = capsys.readouterr().err
    assert "under Research Licence, which has to be accepted first" in error
    assert f"python -m zoo.fetch model=research {registry} accept_license=true" in error
    assert hub.seen == [] and consents() == []

    assert fetch.main(["model=research", registry, "accept_license=true"]) == 0
    for kept in (zoo_home() / "licences").iterdir():
        kept.unlink()
    asked = len(hub.seen)
    consent._warn_once.cache_clear()
    caplog.clear()
    capsys.readouterr()
    assert main(given) == 0
    assert len(hub.seen) == asked
    (line,) = [m for m in caplog.messages if "commercial" in m]
    assert line == "warning: research: commercial use is not allowed (Research Licence)"


@pytest.mark.parametrize("named", ["key", "environment"])
@pytest.mark.parametrize("folder", ["here", "here/my models", "elsewhere"])
def test_the_command_that_consents_can_be_pasted(
    folder: str, named: str, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / folder).mkdir(exist_ok=True)
    file = Path(registry.removeprefix("registry=")).rename(tmp_path / folder / "models.yaml")
    given = ["model=research", f"input={tiny_pictures(tmp_path / 'pictures', 1)}"]
    if named == "key":
        given.append(f"registry={file}")
    else:
        monkeypatch.setenv("ZOO_REGISTRY", str(file))
    assert predict.main(given) == 3
    (command,) = re.findall(r"python -m zoo\.fetch .+", capsys.readouterr().err)
    shown = {"here": "models.yaml", "here/my models": "'my models/models.yaml'", "elsewhere": str(file)}[folder]
    assert command == f"python -m zoo.fetch model=research registry={shown} accept_license=true"
    with monkeypatch.context() as elsewhere:  # another shell
        elsewhere.delenv("ZOO_REGISTRY", raising=False)
        assert fetch.main(shlex.split(command)[3:]) == 0
    assert predict.main(given) == 0


def test_a_users_own_file_is_used_without_asking(tmp_path: Path) -> None:
    registry = tiny_registry(tmp_path / "own", licence=RESEARCH)
    pictures = tiny_pictures(tmp_path / "pictures", 2)
    assert predict.main(["model=tiny", f"registry={registry}", f"input={pictures}", f"out={tmp_path / 'o'}"]) == 0
    (tmp_path / "own" / "tiny.onnx").unlink()  # what is missing is said, not the licence: nothing can be downloaded
    assert predict.main(["model=tiny", f"registry={registry}", f"input={pictures}", f"out={tmp_path / 'p'}"]) == 3
    assert consents() == []


def test_the_warning_is_one_line_on_stderr(tmp_path: Path) -> None:
    registry = tiny_registry(tmp_path / "own", licence=RESEARCH)
    words = ["model=tiny", f"registry={registry}", f"input={tiny_pictures(tmp_path / 'pictures', 2)}"]
    command = [sys.executable, "-m", "zoo.predict", *words, f"out={tmp_path / 'out'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines().count("warning: tiny: commercial use is not allowed (Research Licence)") == 1


@pytest.mark.parametrize(("typed", "code", "kept"), [("yes\n", 0, 1), ("no\n", 3, 0), ("", 3, 0), ("y\n", 3, 0)])
def test_at_a_terminal_it_asks(
    typed: str, code: int, kept: int, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    monkeypatch.setattr("sys.stderr", said)
    assert fetch.main(["model=research", registry]) == code
    assert "Do you accept the terms of Research Licence?" in said.getvalue()
    assert said.getvalue().index("https://example.org/terms") < said.getvalue().index("Do you accept")
    assert len(consents()) == kept


def test_accept_license_false_is_an_answer_and_asks_nobody(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    monkeypatch.setattr("sys.stderr", said)
    assert fetch.main(["model=research", registry, "accept_license=false"]) == 3
    assert "Do you accept" not in said.getvalue()


def test_files_that_are_here_need_no_consent_and_offline_says_what_is_missing(
    registry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(["model=research", registry, "offline=true"]) == 3
    assert "research.onnx" in capsys.readouterr().err  # the missing file, not the licence
    assert fetch.main(["model=research", registry, "accept_license=true"]) == 0
    for path in (zoo_home() / "licences").iterdir():
        path.unlink()
    assert fetch.main(["model=research", registry]) == 0
    assert fetch.main(["model=research", registry, "offline=true"]) == 0


@pytest.fixture
def upload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UploadServer]:
    """A Hub to publish to, and a login."""
    with UploadServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_TOKEN", GOOD)
        monkeypatch.delenv("ZOO_HUB_MIRROR", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        monkeypatch.chdir(tmp_path)
        yield server


def tiny(folder: Path, **change: Any) -> str:
    return f"registry={tiny_registry(folder / 'source', **change)}"


def in_folds(folder: Path) -> str:
    """The tiny model with a checkpoint for each of three folds."""
    weights = []
    for name in ("one", "two", "three"):
        path = folder / "source" / f"{name}.onnx"
        tiny_model(path)
        model = onnx.load(path)
        model.graph.name = name  # files of one content would be uploaded once
        onnx.save(model, path)
        fold = {"protocol": "folds", "name": name, "test_subjects": [name]}
        source = {"sources": [f"path:{path}"], "sha256": sha256_of(path)}
        weights.append({"name": path.name, "format": "onnx", "fold": fold, **source})
    return tiny(folder, weights=weights)


def answers(name: str, registry: Path, pictures: Path, out: Path) -> list[dict[str, str]]:
    words = [f"model={name}", f"registry={registry}", f"input={pictures}", f"out={out}", "draw=false"]
    assert predict.main(words) == 0
    return list(csv.DictReader((out / f"{name}.csv").read_text().splitlines()))


def test_a_published_model_is_one_commit_and_gives_the_same_answers_from_the_hub(
    tmp_path: Path, upload: UploadServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish.main(["model=tiny", "repo=me/tiny", tiny(tmp_path)]) == 0
    seen = capsys.readouterr()
    ((repo, commit, message),) = upload.commits
    assert (repo, message) == ("me/tiny", "Publish tiny")
    assert commit in seen.err
    assert set(upload.repos["me/tiny"].revisions[commit]) == {
        "README.md", "registry.yaml", "contract.json", "run.py", "tiny-onnxruntime-fp32.onnx"
    }  # fmt: skip
    assert f"hf:me/tiny@{commit}:tiny-onnxruntime-fp32.onnx" in seen.out
    assert not list(tmp_path.glob(".zoo-publish-*"))

    pictures = tiny_pictures(tmp_path / "pictures", 2) / "anger"
    source = answers("tiny", tmp_path / "source" / "tiny.yaml", pictures, tmp_path / "a")
    pinned = tmp_path / "pinned.yaml"
    pinned.write_text(seen.out)
    fetched = answers("tiny-onnx", pinned, pictures, tmp_path / "b")
    assert any(f"/me/tiny/resolve/{commit}/" in path for path in upload.gets)
    uploaded = tmp_path / "elsewhere" / "registry.yaml"  # the one in the repository follows its newest commit
    uploaded.parent.mkdir()
    uploaded.write_bytes(upload.repos["me/tiny"].revisions[commit]["registry.yaml"])
    newest = answers("tiny-onnx", uploaded, pictures, tmp_path / "c")
    scores = [k for k in source[0] if k in LABELS or k.split("_")[-1] in LABELS]
    assert len(scores) >= 3
    for a, b, c in zip(source, fetched, newest, strict=True):
        assert {k: a[k] for k in (*scores, "expression")} == {k: b[k] for k in (*scores, "expression")}
        assert b == c


def test_a_dry_run_writes_the_folder_and_asks_nobody(
    tmp_path: Path, upload: UploadServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    words = ["model=tiny", "repo=me/tiny", "dry_run=true", tiny(tmp_path)]
    assert publish.main(words) == 2
    assert "out=" in capsys.readouterr().err
    assert publish.main([*words, "out=there"]) == 0
    assert upload.seen == []
    shown = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert "README.md" in shown and "tiny-onnxruntime-fp32.onnx" in shown
    copied = answers("tiny-onnx", Path("there/registry.yaml"), tiny_pictures(tmp_path / "p", 2) / "anger", Path("o"))
    assert len(copied) == 2  # a copy of the repository runs without a network
    assert publish.main([*words, "out=there"]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("token", "repo", "code", "said"),
    [
        ("", "me/tiny", 3, "not logged in"),
        ("hf_old", "me/tiny", 3, "does not accept your login"),
        (GOOD, "others/tiny", 3, "may not write to others/tiny"),
        (GOOD, "tiny", 2, "owner/name"),
        (GOOD, "me/../tiny", 2, "owner/name"),
    ],
)  # fmt: skip
def test_who_may_not_publish_is_told_why_and_nothing_is_made(
    token: str, repo: str, code: int, said: str, tmp_path: Path, upload: UploadServer,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", token)
    assert publish.main(["model=tiny", f"repo={repo}", "out=there", tiny(tmp_path)]) == code
    seen = capsys.readouterr()
    assert said in seen.err
    assert "Traceback" not in seen.err
    assert token == "" or token not in seen.err
    assert upload.private == {} and upload.commits == []
    assert {p.name for p in tmp_path.iterdir()} == {"source"}


def test_a_repository_that_holds_something_is_left_alone_unless_asked(
    tmp_path: Path, upload: UploadServer, capsys: pytest.CaptureFixture[str]
) -> None:
    upload.make("me/tiny", {"README.md": b"my notes", "mine.bin": b"1"})
    upload.make("others/tiny", {"README.md": b"theirs"})
    words = ["model=tiny", "repo=me/tiny", tiny(tmp_path)]
    assert publish.main(words) == 2
    assert "holds 2 files already" in capsys.readouterr().err
    assert publish.main([*words, "private=true", "overwrite=true"]) == 2
    assert "is public" in capsys.readouterr().err
    assert publish.main(["model=tiny", "repo=others/tiny", "overwrite=true", words[2]]) == 3
    assert "may not write to others/tiny" in capsys.readouterr().err
    assert len(upload.commits) == 2
    assert publish.main([*words, "overwrite=true"]) == 0
    now = upload.repos["me/tiny"].revisions["main"]
    assert now["mine.bin"] == b"1" and b"# Tiny" in now["README.md"]


def test_private_is_private(tmp_path: Path, upload: UploadServer) -> None:
    assert publish.main(["model=tiny", "repo=me/tiny", "private=true", tiny(tmp_path)]) == 0
    assert upload.private == {"me/tiny": True}


@pytest.mark.parametrize("cut", ["while sending", "at the commit"])
def test_an_upload_that_breaks_off_publishes_nothing_and_goes_on_next_time(
    cut: str, upload: UploadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=tiny", "repo=me/tiny", "out=there", in_folds(tmp_path)]
    if cut == "while sending":
        upload.break_uploads_after = 2
    else:
        upload.commit_status = 500
    assert publish.main(words) == 1
    error = capsys.readouterr().err
    assert "nothing was published" in error and "run the same command again" in error
    assert upload.commits == []
    assert {p.name for p in tmp_path.iterdir()} == {"source"}
    sent = upload.uploads
    assert sent >= 2
    upload.break_uploads_after = upload.commit_status = None
    assert publish.main(words) == 0
    assert upload.uploads == 3  # none of the three folds twice
    assert len(upload.commits) == 1
    assert f"@{upload.head('me/tiny')}:" in Path("there/registry.yaml").read_text()


def test_a_commit_whose_answer_got_lost_is_not_called_unpublished(
    tmp_path: Path, upload: UploadServer, capsys: pytest.CaptureFixture[str]
) -> None:
    upload.lose_answer = True
    assert publish.main(["model=tiny", "repo=me/tiny", tiny(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert len(upload.commits) == 1
    assert "has a new commit with all these files" in error and "nothing was published" not in error


def test_a_card_that_the_hub_refuses_is_told_in_its_words(
    tmp_path: Path, upload: UploadServer, capsys: pytest.CaptureFixture[str]
) -> None:
    licence = {"name": "ISC", "commercial_use": True}  # this server has not heard of it
    assert publish.main(["model=tiny", "repo=me/tiny", tiny(tmp_path, licence=licence)]) == 1
    error = capsys.readouterr().err
    assert '"license" must be one of' in error and "the repository was made and is empty" in error
    assert upload.commits == []


def test_a_hub_that_cannot_be_reached_is_one_clear_error(
    tmp_path: Path, upload: UploadServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port of discard, where nobody listens
    assert publish.main(["model=tiny", "repo=me/tiny", tiny(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "http://127.0.0.1:9/me/tiny" in error and "Traceback" not in error


def test_a_change_of_the_repository_meanwhile_is_not_overwritten(
    upload: UploadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.weights.upload import target

    upload.make("me/tiny", {"README.md": b"1"})
    place = target("me/tiny", overwrite=True)
    upload.make("me/tiny", {"README.md": b"2"})
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "README.md").write_text("---\nlicense: mit\n---\n")
    with pytest.raises(WeightsError, match="changed meanwhile"):
        place.commit(tmp_path / "f", "late")
    assert upload.repos["me/tiny"].revisions["main"]["README.md"] == b"2"


UNKNOWN = {"name": "Custom Terms", "commercial_use": "unknown", "url": "https://example.org/terms"}


@pytest.mark.parametrize(
    ("licence", "words", "code", "said"),
    [
        (UNKNOWN, [], 3, "i_may_redistribute=true"),
        (UNKNOWN, ["i_may_redistribute=true"], 0, "its publisher's word"),
        (UNKNOWN | {"redistribution": True}, [], 0, "https://example.org/terms"),
        (UNKNOWN | {"redistribution": False}, ["i_may_redistribute=true"], 3, "does not allow"),
        ({"name": "MIT", "commercial_use": True, "redistribution": False}, [], 3, "does not allow"),
        ({"name": "MIT", "commercial_use": True}, [], 0, "MIT"),
    ],
)  # fmt: skip
def test_only_what_may_be_passed_on_is_published(
    licence: dict[str, Any], words: list[str], code: int, said: str, tmp_path: Path, upload: UploadServer,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert publish.main(["model=tiny", "repo=me/tiny", tiny(tmp_path, licence=licence), *words]) == code
    error = capsys.readouterr().err
    if code:
        assert said in error
        assert upload.seen == []
        return
    card = upload.repos["me/tiny"].revisions["main"]["README.md"].decode()
    assert said in card
    assert ("its publisher's word" in card) == bool(words)


def test_the_licence_text_goes_along(tmp_path: Path, upload: UploadServer, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "terms.txt").write_text("All the terms.")
    words = ["model=tiny", "repo=me/tiny", tiny(tmp_path)]
    assert publish.main([*words, "license_file=nowhere.txt"]) == 2
    assert upload.commits == []
    assert publish.main([*words, "license_file=terms.txt"]) == 0
    assert upload.repos["me/tiny"].revisions["main"]["LICENSE"] == b"All the terms."


def test_what_cannot_be_run_cannot_be_published(upload: UploadServer, capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.registry import load_registry

    name = next(e.name for e in load_registry().entries.values() if not e.runnable)
    assert publish.main([f"model={name}", "repo=me/x", "i_may_redistribute=true"]) == 2
    assert "reported numbers only" in capsys.readouterr().err
    assert upload.private == {}
