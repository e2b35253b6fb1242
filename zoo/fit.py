"""``python -m zoo.fit``: fit a small head on a published network, from your own copy of a dataset."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shlex import quote

from zoo.cli import OFFLINE, REGISTRY, Arguments, Key, natural, one_of, path, positive, put, run_verb, say, words

SUMMARY = "Fit a head (logistic regression or one hidden layer) on a published network's embeddings and scores."
EXAMPLE = (
    "python -m zoo.fit model=hsemotion-enet-b0-8-best-vgaf protocol=affwild2-expression features=embeddings "
    "hidden=128 root=/data/Aff-Wild2 out=heads"
)
KEYS = (
    Key("model", "one model's name: a network published as ONNX, such as the HSEmotion ones", required=True),
    Key("protocol", "whose labels are learnt; several of one dataset, with commas, share a head", words, required=True),
    Key("root", "folder of your copy; else the variable ZOO_<DATASET>_ROOT"),
    Key("features", "what the head reads: embeddings | scores | both", one_of("embeddings", "scores", "both"), "both"),
    Key("hidden", "units of a hidden layer; 0: none", natural, 0),
    Key("stop_on", "where the best epoch is chosen: validation (as the paper; counts as selected on) | train",
        one_of("validation", "train"), "validation"),
    Key("epochs", "passes over the training frames", positive, 20),
    Key("seed", "seed of the first weights and the order of frames", natural, 0),
    Key("name", "name of the new entry; else made of the model's and the tasks'"),
    Key("out", "folder for the head and its registry file; a new one", path, required=True),
    Key("threads", "cores to use; else all that the process may use", positive),
    OFFLINE,
    REGISTRY,
)  # fmt: skip


def _body(given: Arguments) -> int:
    from zoo.datasets import get_dataset, load_index
    from zoo.errors import UsageError
    from zoo.protocols import load_protocol
    from zoo.registry import load_registry
    from zoo.runs.fit import Recipe, check_fit, fit_head
    from zoo.weights import locate

    registry = load_registry(given.registry)
    entry = registry.get(given.model)
    protocols = [load_protocol(ref) for ref in given.protocol]
    file = check_fit(entry, protocols)
    if given.out.exists() and (not given.out.is_dir() or any(given.out.iterdir())):
        raise UsageError(f"'{given.out}' exists already", fix="name a new folder")
    batch = 256 if [p.task for p in protocols] == ["expression"] else 512  # as in the author's notebook
    recipe = Recipe(given.features, given.hidden, given.stop_on, given.epochs, batch, given.seed)
    encoder = locate(file, entry=entry, base=registry.base(entry.name), offline=given.offline)
    dataset, options = protocols[0].dataset, dict(protocols[0].dataset_options)
    if "splits" in get_dataset(dataset).options:  # AffectNet's reader leaves the training part unread unless asked
        options["splits"] = "all"
    index = load_index(dataset, given.root, cache=True, offline=given.offline, **options)
    name = given.name or "-".join([entry.name, *(p.task for p in protocols), "head"])
    done = fit_head(
        entry, encoder, index, protocols, recipe, given.out, name=name, threads=given.threads,
        progress=sys.stderr.isatty(), tell=say,
    )  # fmt: skip
    say(f"fitted on {done.frames} frames; epoch {done.epoch} is kept")
    for protocol in protocols:
        say(f"score it: python -m zoo.eval registry={quote(str(done.registry))} model={name} dataset={dataset} "
            f"protocol={protocol.id}" + (f" root={quote(given.root)}" if given.root else ""))  # fmt: skip
    for made in sorted(given.out.iterdir()):
        put(str(made))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("fit", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
