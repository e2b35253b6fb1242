"""An exported model: a folder with the graph, its contract, a plain script that runs it, and a registry file.

The graph takes uint8 crops and holds the normalisation, so whoever runs it needs nothing of this package. The registry
file makes it a model like any other: ``registry=out/registry.yaml model=<name>``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray

from zoo._util.files import sha256_of, write_text
from zoo._version import __version__
from zoo.errors import ContractError, RuntimeUnavailableError, UsageError
from zoo.models.base import check_tasks, load_family, select_files
from zoo.models.heads import apply_outputs
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry, Precision, Training, WeightFile, slug
from zoo.runtimes import available, onnx_model, open_session
from zoo.runtimes.base import Session, Tensors
from zoo.runtimes.calibration import Calibration
from zoo.runtimes.example import example, stored_precision
from zoo.runtimes.graphs import PIXELS, affine, dynamic_batch, with_pixels
from zoo.runtimes.parity import TOLERANCE, batch_invariance, thread_invariance, worst

ExportRuntime = Literal["openvino", "onnxruntime"]


@dataclass(frozen=True)
class Limits:
    """How far an artefact may be from the model that it was made from.

    Attributes:
        values: Largest difference of a task's values, over the task's range (5 for intensities, 2 for valence and
            arousal, 1 for scores; the largest value where a task's are larger).
        decisions: Smallest share of equal decisions: the expression of a picture, the occurrence of an AU.
    """

    values: float
    decisions: float


LIMITS: dict[str, Limits] = {
    "fp32": Limits(values=TOLERANCE["fp32"], decisions=0.99),
    "bf16": Limits(values=0.1, decisions=0.9),
    "fp16": Limits(values=TOLERANCE["fp16"], decisions=0.98),
    "int8": Limits(values=0.2, decisions=0.9),
}
"""By precision. They find a broken artefact; what precision costs in accuracy only an evaluation tells."""

_RANGES: dict[Task, float] = {"au-intensity": 5.0, "au-occurrence": 1.0, "expression": 1.0, "valence-arousal": 2.0}


@dataclass(frozen=True)
class TaskAgreement:
    """How an artefact's values of one task compare with the source's.

    Attributes:
        n: Pictures.
        max_abs: Largest absolute difference.
        mean_abs: Mean absolute difference.
        relative: ``max_abs`` over the task's range.
        decisions: Share of equal decisions; None for tasks without.
    """

    n: int
    max_abs: float
    mean_abs: float
    relative: float
    decisions: float | None


@dataclass(frozen=True)
class Exported:
    """A finished artefact.

    Attributes:
        folder: Where it is.
        entry: Its registry entry.
        parity: On ``golden`` and ``crops``: the agreement by task.
    """

    folder: Path
    entry: ModelEntry
    parity: dict[str, dict[str, TaskAgreement]]


def task_agreement(
    entry: ModelEntry, reference: Mapping[Task, NDArray[np.float32]], other: Mapping[Task, NDArray[np.float32]]
) -> dict[str, TaskAgreement]:
    """Compares values by task, as :func:`zoo.models.apply_outputs` gives them.

    Args:
        entry: The model.
        reference: Values held to be right, ``[n, labels]``.
        other: Values in question.
    """
    compared = {}
    for task, values in reference.items():
        a, b = values.astype(np.float64), other[task].astype(np.float64)
        apart = np.abs(a - b)
        decisions = None
        if task == "expression":
            decisions = float((a.argmax(1) == b.argmax(1)).mean())
        elif task == "au-occurrence":
            threshold = entry.output(task).threshold or 0.0
            decisions = float(((a >= threshold) == (b >= threshold)).mean())
        width = max(_RANGES[task], float(np.abs(a).max()))
        compared[str(task)] = TaskAgreement(
            len(a), float(apart.max()), float(apart.mean()), float(apart.max()) / width, decisions
        )
    return compared


def export_model(
    entry: ModelEntry,
    files: Mapping[str, Path],
    tasks: Sequence[Task],
    out: Path,
    *,
    runtime: ExportRuntime,
    precision: Precision,
    golden: NDArray[np.uint8],
    reference: Session,
    fold: str | None = None,
    calibration: Calibration | None = None,
    keep_fp32: bool = False,
    threads: int | None = None,
    device: str = "cpu",
) -> Exported:
    """Writes an artefact, whole or not at all, after it agreed with the model that it is made from.

    Args:
        entry: The model.
        files: The files that :func:`source_files` names, located.
        tasks: Tasks that the artefact shall have.
        out: Folder to write; must not exist, or be empty.
        runtime: ``openvino`` writes an IR (.xml and .bin), ``onnxruntime`` an ONNX file.
        precision: ``fp32``; ``int8``; ``fp16`` of ONNX files, for GPUs; ``bf16``, which is an fp32 IR that is checked,
            and run by ``run.py``, in bf16.
        golden: Fixed crops, uint8 ``[n, height, width, channels]``.
        reference: The model in fp32; its caller closes it.
        fold: Fold of the checkpoint, where there is one a fold.
        calibration: Crops; needed by ``int8``, checked on by the others where given.
        keep_fp32: Of int8: write the fp32 graph beside it, as a second file of the entry, which then is called
            ``<model>-<runtime>`` without a precision; ``zoo.bench`` holds the int8 file against it.
        threads: Threads of the check.
        device: Where the artefact is checked; its precision has to be one that is computed there.

    Raises:
        UsageError: ``out`` is taken, int8 without calibration, or tasks that share a tensor with one left out.
        RuntimeUnavailableError: The precision cannot be had here, or an operator is not supported.
        ContractError: The artefact differs from the model by more than :data:`LIMITS`.
        DependencyError: nncf is not installed.
    """
    check_export(entry, tasks, out, runtime=runtime, precision=precision, calibrated=calibration is not None)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    try:
        stem = "-".join(slug(part) for part in (entry.name, *((fold,) if fold else ()), runtime))
        names, together = _write_graph(
            entry, files, tasks, folder / f"{stem}-{precision}", runtime, precision, calibration
        )
        both = keep_fp32 and precision == "int8"
        if both:
            _write_graph(entry, files, tasks, folder / f"{stem}-fp32", runtime, "fp32", None)
        made = _entry(
            entry, tasks, folder, stem if both else f"{stem}-{precision}", names, runtime, precision, fold, calibration
        )
        where = _Where(runtime, device, threads)
        parity = _check(entry, made, tasks, folder, reference, golden, calibration, where, precision)
        if both:
            _check(entry, made, tasks, folder, reference, golden, None, where, "fp32")
        contract = _contract(entry, made, files, where, precision, fold, calibration, parity, together)
        write_text(folder / "contract.json", json.dumps(contract, indent=1, ensure_ascii=False) + "\n")
        write_text(folder / "run.py", example(made, runtime, precision))
        write_text(folder / "registry.yaml", _registry_text(made))
        folder.chmod(0o755)
        if out.exists():
            out.rmdir()  # empty; os.rename does not replace a folder everywhere
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Exported(out, made, parity)


def source_files(
    entry: ModelEntry, tasks: Sequence[Task], runtime: str, fold: str | None = None
) -> tuple[WeightFile, ...]:
    """Returns the fp32 files that an artefact for a runtime is made from."""
    return select_files(entry, tasks, runtime=runtime, precision="fp32", fold=fold)


def check_export(
    entry: ModelEntry, tasks: Sequence[Task], out: Path, *, runtime: str, precision: str, calibrated: bool
) -> None:
    """Refuses what cannot be exported, before anything is fetched or run.

    Raises:
        UsageError: As :func:`export_model` says.
        RuntimeUnavailableError: A precision that the runtime's files do not have.
    """
    if not entry.runnable or entry.preprocess is None:
        raise UsageError(f"'{entry.name}' {entry.no_run} and cannot be exported", why=entry.notes)
    check_tasks(entry, tasks)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"'{out}' exists already", fix="name a new folder: an artefact is never mixed with another")
    if runtime == "onnxruntime" and precision == "bf16":
        raise RuntimeUnavailableError(
            "onnxruntime computes what the file says, and does not compute convolutions in bf16 on a CPU",
            fix="runtime=openvino precision=bf16, or precision=int8",
        )
    if runtime == "openvino" and precision == "fp16":
        raise RuntimeUnavailableError(
            "openvino takes an fp32 file and computes it in fp16 where a device can",
            fix="precision=fp32 here, then precision=fp16 device=gpu where it is run",
        )
    if precision == "int8" and not calibrated:
        raise UsageError(
            "int8 needs pictures to calibrate on", why="its ranges are those of the activations on real faces",
            fix="calibrate=<folder of your pictures>, or dataset=<name> root=<its folder>",
        )  # fmt: skip
    for task in tasks:
        output = entry.output(task)
        left = [
            o.task for o in entry.outputs
            if o.task not in tasks and (o.role, o.tensor) == (output.role, output.tensor) and o.start != output.start
        ]  # fmt: skip
        if left:
            raise UsageError(
                f"{task} and {', '.join(left)} come out of one tensor", where=entry.where,
                fix=f"export them together: tasks={','.join([*tasks, *left])}",
            )  # fmt: skip


def _write_graph(
    entry: ModelEntry, files: Mapping[str, Path], tasks: Sequence[Task], path: Path, runtime: str, precision: str,
    calibration: Calibration | None,
) -> tuple[list[str], bool]:  # fmt: skip
    """Writes the graph; returns the names of its outputs, and whether it takes any number of pictures at once."""
    assert entry.preprocess is not None
    graph = load_family(entry.family).graph(entry, files, tasks)
    crops = calibration.used if precision == "int8" and calibration is not None else None
    if runtime == "onnxruntime":
        model, together = dynamic_batch(onnx_model(entry, files, tasks, graph)[0], entry.preprocess.size)
        if precision == "fp16":
            from zoo.runtimes.quantise import half

            model = half(model)
        model = with_pixels(model, entry.preprocess)
        names = [o.name for o in model.graph.output]
        if crops is not None:
            from zoo.runtimes.quantise import static_qdq

            model = static_qdq(model, crops)
        onnx.save(model, path.with_name(f"{path.name}.onnx"))
        return names, together
    import openvino as ov

    from zoo.runtimes.openvino_ import pixel_model

    source = graph.native if graph.native is not None else onnx_model(entry, files, tasks, graph)[0]
    compiled, names, together = pixel_model(ov.Core(), source, entry.preprocess, None)
    if crops is not None:
        from zoo.runtimes.quantise import nncf_int8

        compiled = nncf_int8(compiled, crops)
    compiled.input().get_tensor().set_names({PIXELS})
    for port, name in zip(compiled.outputs, names, strict=True):
        port.get_tensor().set_names({name})
    ov.save_model(compiled, str(path.with_name(f"{path.name}.xml")), compress_to_fp16=False)
    return names, together


def _entry(
    entry: ModelEntry, tasks: Sequence[Task], folder: Path, name: str, names: Sequence[str], runtime: str,
    precision: Precision, fold: str | None, calibration: Calibration | None,
) -> ModelEntry:  # fmt: skip
    assert entry.preprocess is not None
    binding = next((w.fold for w in entry.weights if w.fold and w.fold.name == fold), None)
    weights = tuple(
        WeightFile(
            name=path.name, format="onnx" if runtime == "onnxruntime" else "openvino-ir",
            precision=stored_precision(precision) if path.stem.endswith(f"-{precision}") else "fp32",
            sources=(f"path:{path.name}",), sha256=sha256_of(path), size=path.stat().st_size, fold=binding,
        )
        for path in sorted(folder.iterdir())
    )  # fmt: skip
    outputs = tuple(
        entry.output(t).model_copy(update={"role": "model", "tensor": entry.output(t).tensor or names[0]})
        for t in tasks
    )
    trained: tuple[Training, ...] = entry.trained_on
    if precision == "int8" and calibration is not None and calibration.training is not None:
        trained = (*trained, calibration.training)
    note = f"Exported from {entry.name} (contract {entry.contract_hash}) by libreface-zoo {__version__}; contract.json."
    change: dict[str, Any] = {
        "name": name, "title": f"{entry.title} ({runtime} {precision})", "family": "onnx", "tasks": tuple(tasks),
        "weights": weights, "outputs": outputs, "trained_on": trained,
        # The graph normalises, so what goes in is the crop itself.
        "preprocess": entry.preprocess.model_copy(
            update={"scale": 1.0, "mean": (0.0,), "std": (1.0,), "layout": "nhwc"}
        ),
        "notes": " ".join(filter(None, (note, entry.notes))),
    }  # fmt: skip
    return ModelEntry.model_validate(entry.model_copy(update=change).model_dump())


@dataclass(frozen=True)
class _Where:
    """Where an artefact is checked."""

    runtime: ExportRuntime
    device: str
    threads: int | None


def _check(
    entry: ModelEntry, made: ModelEntry, tasks: Sequence[Task], folder: Path, reference: Session,
    golden: NDArray[np.uint8], calibration: Calibration | None, where: _Where, precision: Precision,
) -> dict[str, dict[str, TaskAgreement]]:  # fmt: skip
    """Runs the artefact as :func:`zoo.runtimes.open_session` will, and holds it against the model.

    int8 is judged on the crops kept from calibration: its ranges are those of faces, and the fixed crops are none.
    Their agreement is written down all the same.
    """

    def opened(threads: int | None) -> Session:
        return open_session(
            made, {w.name: folder / w.name for w in made.weights}, tasks, runtime=where.runtime, precision=precision,
            device=where.device, threads=threads,
        )  # fmt: skip

    session = opened(where.threads)
    try:
        inputs = {"golden": golden}
        if calibration is not None:
            inputs["crops"] = calibration.kept if precision == "int8" else calibration.crops
        found = {
            key: task_agreement(
                entry,
                apply_outputs(entry, _run(reference, crops), tasks),
                apply_outputs(made, _run(session, crops), tasks),
            )
            for key, crops in inputs.items()
        }
        by_batch = worst(batch_invariance(session, golden).values())
        by_threads = worst(thread_invariance(session, opened, golden).values())
    finally:
        session.close()
    limits = LIMITS[precision]
    for key, by_task in found.items():
        if precision == "int8" and key == "golden":
            continue
        for task, one in by_task.items():
            # written so that a NaN fails
            good = one.relative <= limits.values and (one.decisions is None or one.decisions >= limits.decisions)
            if not good:
                equal = "" if one.decisions is None else f", {one.decisions:.1%} equal decisions"
                raise ContractError(
                    f"{made.name} does not compute what {entry.name} does; nothing was written",
                    where=f"{task} on {one.n} {'fixed' if key == 'golden' else 'face'} crops",
                    why=f"differs by up to {one.max_abs:.3g} ({one.relative:.1%} of the range){equal}; the limits are "
                    f"{limits.values:.2%} and {limits.decisions:.0%}",
                    fix="calibrate on more and other pictures, or use a higher precision"
                    if precision == "int8" else "use precision=fp32" if precision in ("bf16", "fp16") else None,
                )  # fmt: skip
    for what, moved in (("in batches", by_batch), ("with other threads", by_threads)):
        if not moved <= TOLERANCE[precision]:
            raise ContractError(f"{made.name} answers differently {what}; nothing was written", why=f"by {moved:.1e}")
    return found


def _run(session: Session, crops: NDArray[np.uint8]) -> Tensors:
    parts = [session.infer(np.ascontiguousarray(crops[i : i + 16])) for i in range(0, len(crops), 16)]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _contract(
    entry: ModelEntry, made: ModelEntry, files: Mapping[str, Path], where: _Where, precision: str, fold: str | None,
    calibration: Calibration | None, parity: dict[str, dict[str, TaskAgreement]], together: bool,
) -> dict[str, Any]:  # fmt: skip
    from zoo.faces.pipeline import describe

    assert entry.preprocess is not None
    a, b = affine(entry.preprocess)
    height, width = entry.preprocess.size
    packages: dict[str, str | None] = {where.runtime: available()[where.runtime]}
    if where.runtime == "openvino" and precision == "int8":
        packages["nncf"] = version("nncf")
    calibrated = None
    if calibration is not None and precision == "int8":
        calibrated = {
            "sha256": calibration.sha256, "used": len(calibration.used), "kept_for_parity": len(calibration.kept),
            **calibration.source,
        }  # fmt: skip
    return {
        "schema_version": 1,
        "name": made.name,
        "runtime": where.runtime,
        "precision": precision,
        "files": [{"name": w.name, "precision": w.precision, "sha256": w.sha256, "size": w.size} for w in made.weights],
        "input": {
            "name": PIXELS, "dtype": "uint8",
            "shape": ["n" if together else 1, height, width, entry.preprocess.channels],
            "colour": entry.preprocess.colour,
        },
        "preprocess": {
            "before_the_graph": describe(entry.preprocess),
            "in_the_graph": {"multiply": a.tolist(), "add": (b + 0).tolist(), "layout": entry.preprocess.layout},
            "contract": entry.preprocess.model_dump(mode="json"),
            "hash": entry.preprocess.hash,
            "crop_hash": entry.preprocess.crop_hash,
        },
        "outputs": [o.model_dump(mode="json", exclude={"role"}) for o in made.outputs],
        "licence": made.licence.model_dump(mode="json"),
        "trained_on": [t.model_dump(mode="json", exclude_none=True) for t in made.trained_on],
        "source": {
            "model": entry.name, "fold": fold, "contract": entry.contract_hash,
            "weights": {w.name: sha256_of(files[w.name]) for w in entry.weights if w.name in files},
        },
        "calibration": calibrated,
        "parity": {
            "limits": asdict(LIMITS[precision]),
            "device": where.device,
            "judged_on": ["crops"] if precision == "int8" else list(parity),
            **{key: {t: asdict(one) for t, one in by_task.items()} for key, by_task in parity.items()},
        },
        "versions": {"libreface-zoo": __version__, **packages},
    }  # fmt: skip


def _registry_text(made: ModelEntry) -> str:
    data = {"schema_version": 1, "models": [made.model_dump(mode="json", exclude_none=True)]}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
