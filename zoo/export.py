"""``python -m zoo.export``: write a model as a file that OpenVINO or ONNX Runtime runs alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any

from zoo.cli import (
    OF_TASKS,
    OFFLINE,
    REGISTRY,
    Arguments,
    Key,
    boolean,
    one_of,
    path,
    paths,
    positive,
    put,
    run_verb,
    say,
)

if TYPE_CHECKING:
    from zoo.registry import ModelEntry
    from zoo.runtimes.calibration import Calibration

SUMMARY = "Write a model as a graph that takes uint8 crops, with its contract, a plain script and a registry file."
EXAMPLE = "python -m zoo.export model=libreface-r18 runtime=openvino precision=int8 calibrate=faces/ out=r18-int8"
KEYS = (
    Key("model", "one model's name", required=True),
    Key("runtime", "openvino (IR) | onnxruntime (ONNX)", one_of("openvino", "onnxruntime"), required=True),
    Key("precision", "fp32 | bf16 | fp16 | int8", one_of("fp32", "bf16", "fp16", "int8"), "fp32"),
    Key("device", "where the artefact is checked: cpu; cuda:0 for fp16", str, "cpu"),
    Key("out", "folder to write; a new one", path, required=True),
    OF_TASKS,
    Key("fold", "which checkpoint, for models that have one a fold"),
    Key("calibrate", "int8: your pictures of faces, files or folders, with commas", paths, ()),
    Key("dataset", "int8: or a dataset, of which no test subject of the fold is used"),
    Key("root", "folder of your copy of it; else the variable ZOO_<DATASET>_ROOT"),
    Key("keep_fp32", "int8: true writes the fp32 graph beside it, so that zoo.bench can hold the two together",
        boolean, False),
    Key("threads", "cores to use; else all that the process may use", positive),
    OFFLINE,
    REGISTRY,
)  # fmt: skip


def _calibration(given: Arguments, entry: ModelEntry) -> Calibration | None:
    from zoo.errors import UsageError
    from zoo.runtimes import calibration

    if given.calibrate and given.dataset:
        raise UsageError("calibrate= and dataset= are two ways to give the same thing", fix="leave one out")
    if given.calibrate:
        from zoo.runs.predict import find_images

        assert entry.preprocess is not None
        where = ", ".join(map(str, given.calibrate))
        return calibration.from_pictures(find_images(given.calibrate), entry.preprocess, where)
    if given.dataset:
        from zoo.datasets import get_dataset, load_index

        # AffectNet's reader leaves the training part unread unless asked.
        options: dict[str, Any] = {"splits": "all"} if "splits" in get_dataset(given.dataset).options else {}
        index = load_index(given.dataset, given.root, **options)
        return calibration.from_dataset(index, entry, given.fold)
    return None


def _body(given: Arguments) -> int:
    from zoo._util.cpu import usable_cores
    from zoo.errors import UsageError
    from zoo.models import select_files
    from zoo.registry import load_registry
    from zoo.runs.verify import golden_input
    from zoo.runtimes import artefact, check_device, default_runtime, open_session
    from zoo.weights import locate

    registry = load_registry(given.registry)
    entry = registry.get(given.model)
    tasks = given.tasks or entry.tasks
    artefact.check_export(
        entry, tasks, given.out, runtime=given.runtime, precision=given.precision,
        calibrated=bool(given.calibrate or given.dataset),
    )  # fmt: skip
    if given.keep_fp32 and given.precision != "int8":
        raise UsageError("keep_fp32 is for precision=int8", fix="leave keep_fp32= out")
    check_device(given.runtime, given.device)
    if given.fold and not entry.fold_bound:
        raise UsageError(f"'{entry.name}' has no folds", fix="leave fold= out")
    runtime = default_runtime(entry)
    chosen = artefact.source_files(entry, tasks, given.runtime, given.fold)
    compared = select_files(entry, tasks, runtime=runtime, fold=given.fold)
    base = registry.base(entry.name)
    located = {w.name: locate(w, entry=entry, base=base, offline=given.offline) for w in {*chosen, *compared}}
    calibration = _calibration(given, entry)
    assert entry.preprocess is not None
    threads = given.threads or usable_cores()
    reference = open_session(
        entry, {w.name: located[w.name] for w in compared}, tasks, runtime=runtime, threads=threads
    )
    try:
        done = artefact.export_model(
            entry, {w.name: located[w.name] for w in chosen}, tasks, given.out, runtime=given.runtime,
            precision=given.precision, golden=golden_input((*entry.preprocess.size, entry.preprocess.channels)),
            reference=reference, fold=given.fold, calibration=calibration,
            keep_fp32=given.keep_fp32, threads=threads, device=given.device,
        )  # fmt: skip
    finally:
        reference.close()
    for key, by_task in done.parity.items():
        for task, one in by_task.items():
            equal = "" if one.decisions is None else f", {one.decisions:.1%} equal decisions"
            say(f"{task}, {one.n} {'fixed' if key == 'golden' else 'face'} crops: differs from fp32 by up to "
                f"{one.max_abs:.2g}, on average {one.mean_abs:.2g}{equal}")  # fmt: skip
    if calibration is not None and calibration.training is not None and given.precision == "int8" and not given.fold:
        say(f"scores on {given.dataset} count as selected on, as far as they are of what it was calibrated on")
    terms = done.entry.licence
    say(f"licence of the weights: {terms.name}{f', {terms.url}' if terms.url else ''}")
    if given.precision == "int8" and not given.keep_fp32:
        say("zoo.bench times it with a check against fp32 if you export with keep_fp32=true")
    more = f" device={given.device}" if given.device != "cpu" else ""
    more += f" fold={given.fold}" if given.fold else ""
    file = quote(str(given.out / "registry.yaml"))
    say(f"run it: python -m zoo.predict registry={file} model={done.entry.name} "
        f"runtime={given.runtime} precision={given.precision}{more} input=photo.jpg")  # fmt: skip
    for written in sorted(given.out.iterdir()):
        put(str(written))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("export", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
