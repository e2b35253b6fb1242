"""``python -m zoo.prepare``: make the crops of a dataset once, for all models that want the same."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.cli import OFFLINE, READING, REGISTRY, Arguments, Key, boolean, positive, put, run_verb, say, words
from zoo.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from zoo.registry import ModelEntry, Registry

SUMMARY = "Make the aligned crops of a dataset once and store them; zoo.eval then reads these instead of raw files."
EXAMPLE = "python -m zoo.prepare dataset=disfa root=/data/DISFA model=libreface-*"
KEYS = (
    Key("dataset", "disfa, rafdb, folder, synthface, hub:owner/name@commit ...", required=True),
    Key("root", "folder of your copy; else the variable ZOO_<DATASET>_ROOT"),
    Key("model", "whose crops: names or globs, with commas; models with the same crops share them", words, ()),
    Key("align", "or: the crops of all models aligned by libreface-quad, arcface-112, box ..."),
    Key("protocol", "read the dataset as this protocol wants; else its first one for a task of the model"),
    *READING,
    Key("threads", "cores to use; else all that the process may use", positive),
    Key("fresh", "true: make crops again that are stored already", boolean, False),
    OFFLINE,
    REGISTRY,
)


def _alignment(entry: ModelEntry) -> str:
    """Returns the word that ``align=`` knows a contract by: its template, else its method."""
    assert entry.preprocess is not None
    align = entry.preprocess.align
    return align.template if align.method == "similarity" else align.method


def _chosen(given: Arguments, registry: Registry) -> list[ModelEntry]:
    if bool(given.model) == bool(given.align):
        raise UsageError("say whose crops: model= or align=", fix=f"for example {EXAMPLE}")
    if given.model:
        entries = [e for e in registry.match(given.model) if e.runnable]
        if not entries:
            raise UsageError(f"{', '.join(given.model)}: not run here, so there is nothing to crop")
        return entries
    runnable = [e for e in registry.entries.values() if e.runnable]
    if given.align not in (known := {_alignment(e) for e in runnable}):
        raise UnknownNameError("alignment", given.align, known)
    return [e for e in runnable if _alignment(e) == given.align]


def _body(given: Arguments) -> int:
    from tqdm import tqdm

    from zoo._util.cpu import usable_cores
    from zoo.datasets import load_index
    from zoo.faces.pipeline import describe
    from zoo.protocols import default_protocol, load_protocol
    from zoo.registry import load_registry
    from zoo.runs.prepare import prepare_crops
    from zoo.runs.scoring import scorable_tasks

    entries = _chosen(given, load_registry(given.registry))
    tasks = tuple(dict.fromkeys(t for e in entries for t in scorable_tasks(e)))
    protocol = load_protocol(given.protocol) if given.protocol else default_protocol(given.dataset, tasks)
    options = {k.name: str(given[k.name]) for k in READING if given[k.name]}
    index = load_index(
        given.dataset, given.root, cache=True, offline=given.offline, **{**protocol.dataset_options, **options}
    )
    contracts = {e.preprocess.crop_hash: e.preprocess for e in entries if e.preprocess}
    failed = True
    for key, contract in contracts.items():
        names = [e.name for e in entries if e.preprocess and e.preprocess.crop_hash == key]
        say(f"{', '.join(names)}: {' '.join(describe(contract))}")
        with tqdm(total=len(index), unit="img", disable=not sys.stderr.isatty(), file=sys.stderr) as bar:
            done = prepare_crops(
                index, contract, threads=given.threads or usable_cores(), fresh=given.fresh, done=bar.update, tell=say
            )
        for line in done.problems[:10]:
            say(f"warning: {line}")
        if len(done.problems) > 10:
            say(f"warning: and {len(done.problems) - 10} more that could not be decoded")
        say(
            f"{done.found} crops of {done.samples} samples, {done.size / 1e6:.1f} MB; {done.made} made now, "
            f"{done.samples - done.made} stored before and checked"
        )
        put(str(done.folder))
        failed &= not done.found
    return int(failed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("prepare", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
