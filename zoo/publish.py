"""``python -m zoo.publish``: give a model a home on the Hugging Face Hub."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli import OFFLINE, REGISTRY, Arguments, Key, boolean, path, positive, put, run_verb, say

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from zoo.registry import ModelEntry, Registry

SUMMARY = "Publish a model on the Hub: ONNX and safetensors held against the source, a card, a registry file."
EXAMPLE = "python -m zoo.publish model=hog-ridge repo=my-lab/hog-ridge dry_run=true out=hog-ridge"
KEYS = (
    Key("model", "one model's name", required=True),
    Key("repo", "owner/name on the Hub (HF_ENDPOINT is respected)", required=True),
    Key("private", "true: a private repository", boolean, False),
    Key("overwrite", "true: the repository may hold files already; they get a new commit", boolean, False),
    Key("dry_run", "true: write the folder to out=, upload nothing", boolean, False),
    Key("out", "folder to write; a new one", path),
    Key("i_may_redistribute", "true: your word that you may pass the weights on, where the registry does not know",
        boolean, False),
    Key("license_file", "the text of the weights' licence, to go along", path),
    Key("results", "folder of boards whose ranked results go into the card [leaderboards, where there is one]", path),
    Key("url", "where that folder can be read, for links to the records"),
    Key("threads", "cores to use; else all that the process may use", positive),
    OFFLINE,
    REGISTRY,
)  # fmt: skip


def _results(given: Arguments, entry: ModelEntry, registry: Registry) -> list[EvalResult]:
    from zoo.boards import collect
    from zoo.boards.hub import evaluation_results
    from zoo.errors import UsageError

    folder = given.results or Path("leaderboards")
    if not folder.is_dir():
        if given.results:
            raise UsageError(f"'{folder}' is not a folder", fix="results=<folder with results/ in it>")
        return []
    return evaluation_results(collect(folder, registry=registry), entry.name, url=given.url)


def _body(given: Arguments) -> int:
    import shutil
    import tempfile

    from zoo._util.cpu import usable_cores
    from zoo._util.files import write_text
    from zoo.errors import UsageError
    from zoo.registry import load_registry
    from zoo.runs.publish import check_licence, may_redistribute, prepare_publication, registry_text
    from zoo.weights import locate
    from zoo.weights.consent import terms
    from zoo.weights.upload import check_name, target

    registry = load_registry(given.registry)
    entry = registry.get(given.model)
    check_name(given.repo)
    if given.dry_run and given.out is None:
        raise UsageError("dry_run=true writes a folder and needs its name", fix="out=<a new folder>")
    if given.out and given.out.exists() and (not given.out.is_dir() or any(given.out.iterdir())):
        raise UsageError(f"'{given.out}' exists already", fix="name a new folder: two models are never mixed")
    first, *rest = terms(entry.licence)
    say(f"{entry.name}: {first}")
    for line in rest:
        say(f"  {line}")
    check_licence(entry, own_word=given.i_may_redistribute)
    if given.license_file is None and may_redistribute(entry.licence) is True:
        say("note: most licences want their text passed on with the files: license_file=<its text>")
    where = None if given.dry_run else target(given.repo, private=given.private, overwrite=given.overwrite)
    results = _results(given, entry, registry)
    base = registry.base(entry.name)
    parent = given.out.resolve().parent if given.out else None
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".zoo-publish-") as place:
        folder = Path(place) / "model"
        folder.mkdir()
        done = prepare_publication(
            entry, lambda w: locate(w, entry=entry, base=base, offline=given.offline), folder, given.repo,
            own_word=given.i_may_redistribute, licence_file=given.license_file, results=results,
            threads=given.threads or usable_cores(), tell=say,
        )  # fmt: skip
        pinned = None
        if where is not None:
            commit = where.commit(folder, f"Publish {entry.name}")
            say(f"published: {commit.url}")
            pinned = registry_text(done.entries, given.repo, commit.id)
            write_text(folder / "registry.yaml", pinned)
        if given.out:
            if given.out.exists():
                given.out.rmdir()  # empty; os.rename does not replace a folder everywhere
            shutil.move(folder, given.out)
    if given.out:
        for file in sorted(given.out.iterdir()):
            put(str(file))
        if pinned:
            say(f"{given.out / 'registry.yaml'} names the commit: registry={given.out / 'registry.yaml'} runs it")
    elif pinned:
        put(pinned.rstrip())
        say("what stands on stdout is a registry file that names the commit: keep it, and run it with registry=<file>")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("publish", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
