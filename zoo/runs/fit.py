"""Heads on what a published network sees: logistic regression or one hidden layer, fitted on a training split.

The recipe is that of A. V. Savchenko, Frame-level Prediction of Facial Expressions, Valence, Arousal and Action Units
for Mobile Devices (arXiv:2203.13436, section 2); what the paper leaves open is as in the author's notebook
(av-savchenko/face-emotion-recognition, src/ABAW/abaw3_train.ipynb): 128 hidden units with ReLU, without a hidden layer
a penalty of 1 / batch on the squared weights, Adam with a rate of 0.001, batches of 512, 20 epochs of which the best
one is kept. Losses: cross entropy with a class's weight inverse to its count (the most frequent class has 1); binary
cross entropy in which present and absent weigh the same for each AU; 1 - (CCC of valence + CCC of arousal) / 2. Several
tasks share the hidden layer, and their losses are added.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo._util.cpu import usable_cores
from zoo._util.files import atomic_path, sha256_of, write_text
from zoo._util.optional import need
from zoo.datasets.base import Index
from zoo.errors import DatasetError, UsageError
from zoo.models.base import select_files
from zoo.models.embedding_head import FEATURES, TENSOR, tensor_of, with_features
from zoo.protocols.rules import assign_folds, truth
from zoo.protocols.schema import ProtocolFile
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry, WeightFile

if TYPE_CHECKING:
    import torch
    from torch import nn

TRAIN = "train"
HELD_BACK = 0.1
"""Share of the training subjects that ``stop_on`` ``train`` keeps for choosing the epoch."""

Floats = NDArray[np.float32]
Truth = NDArray[np.float32] | NDArray[np.int16]


@dataclass(frozen=True)
class Recipe:
    """How a head is fitted.

    Attributes:
        features: What it reads: ``embeddings``, ``scores`` or ``both``.
        hidden: Units of the hidden layer; 0 for none.
        stop_on: Where the best epoch is looked for: the ``validation`` split, as in the paper, which makes scores on it
            count as selected on; or a part of the ``train`` split, by subject.
        epochs: Epochs.
        batch: Frames a step.
        seed: Of the first weights and the order of the frames.
    """

    features: Literal["embeddings", "scores", "both"] = "both"
    hidden: int = 0
    stop_on: Literal["validation", "train"] = "validation"
    epochs: int = 20
    batch: int = 512
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """A head that was written.

    Attributes:
        entry: Its registry entry.
        registry: The registry file that holds it.
        frames: Frames with a face that it was fitted on.
        epoch: The epoch that was kept, from 1.
    """

    entry: ModelEntry
    registry: Path
    frames: int
    epoch: int


def check_fit(entry: ModelEntry, protocols: Sequence[ProtocolFile]) -> WeightFile:
    """Refuses what no head can be fitted on, before anything is computed.

    Returns:
        The network's file.

    Raises:
        UsageError: The model is not one ONNX network, protocols do not go together, or have no training split.
    """
    if entry.family != "onnx" or entry.preprocess is None:
        raise UsageError(f"no head can be fitted on {entry.name}", why="it is not a published ONNX network")
    if len({p.task for p in protocols}) < len(protocols):
        raise UsageError("two protocols are of one task", fix="give one protocol a task, or run it twice")
    if len({(p.dataset, p.split, repr(p.dataset_options)) for p in protocols}) > 1:
        raise UsageError("the protocols read the dataset differently", fix="fit a head for each of them")
    if protocols[0].folds or protocols[0].split in (None, TRAIN):
        raise UsageError(
            f"{protocols[0].ref} has no training split", why="its folds or its copy decide who is scored",
            fix="use a protocol that scores one split, such as affwild2-expression",
        )  # fmt: skip
    (file,) = select_files(entry, entry.tasks, runtime="onnxruntime")
    if file.format != "onnx":
        raise UsageError(f"no head can be fitted on {entry.name}", why=f"its file is {file.format}")
    return file


def fit_head(
    entry: ModelEntry,
    encoder: Path,
    index: Index,
    protocols: Sequence[ProtocolFile],
    recipe: Recipe,
    out: Path,
    *,
    name: str,
    threads: int | None = None,
    progress: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """Fits a head and writes it with its registry entry: ``<name>.safetensors`` and ``registry.yaml``.

    The features of all frames are held in memory: 5.2 kB a frame for an EfficientNet-B0.

    Args:
        entry: The network.
        encoder: Its located file.
        index: The copy of the dataset, read as the protocols want.
        protocols: One a task; they say which labels, in which order.
        recipe: How.
        out: Folder to write into.
        name: Name of the new entry.
        threads: Cores to use; None: all that the process may use.
        progress: Show progress bars on stderr.
        tell: Called with a line for each epoch, and for each task of which something cannot be learnt.

    Raises:
        UsageError: As :func:`check_fit`; or people are to be kept back, and the copy names fewer than two.
        DatasetError: A split has no frame with a face and a label.
        DependencyError: torch or safetensors is not installed.
    """
    need("torch", "heads are fitted with torch")
    save_file = need("safetensors.numpy", "heads are safetensors").save_file
    file = check_fit(entry, protocols)
    rows = _split(index, protocols, recipe)
    threads = threads or usable_cores()
    features = {
        part: _features(entry, encoder, index, chosen, recipe, threads, part, progress) for part, chosen in rows.items()
    }
    labels = {p.task: truth(p, index) for p in protocols}
    data = {part: (x, {task: values[kept] for task, values in labels.items()}) for part, (x, kept) in features.items()}
    for p in protocols:
        if lacking := unseen(p, data["train"][1][p.task]):
            tell(f"warning: {p.task}: the training frames do not tell {', '.join(lacking)}: that cannot be learnt")
    weights, epoch = _train(data, protocols, recipe, threads, tell)
    path = out / f"{name}.safetensors"
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        save_file(weights, partial)
    made = _entry(entry, file, encoder, index, protocols, recipe, path, name, len(data["train"][0]))
    import yaml

    text = {"schema_version": 1, "models": [made.model_dump(mode="json", exclude_none=True)]}
    write_text(out / "registry.yaml", yaml.safe_dump(text, sort_keys=False, allow_unicode=True, width=120))
    return Fitted(made, out / "registry.yaml", len(data["train"][0]), epoch)


def _split(index: Index, protocols: Sequence[ProtocolFile], recipe: Recipe) -> dict[str, NDArray[np.bool_]]:
    """Returns the rows to fit on and those to choose the epoch on: frames with a label of any task."""

    def labelled(split: str) -> NDArray[np.bool_]:
        chosen = [p.model_copy(update={"split": split}) for p in protocols]
        rows: NDArray[np.bool_] = np.any([assign_folds(p, index) >= 0 for p in chosen], axis=0)
        return rows

    train = labelled(TRAIN)
    if recipe.stop_on == "train":
        subjects = [name for name in index.subject[train].distinct()[0] if name]
        if len(subjects) < 2:
            raise UsageError(
                f"stop_on=train keeps back people, and the training frames of {index.dataset} name {len(subjects)}",
                fix="stop_on=validation",
            )
        kept = np.random.default_rng(recipe.seed).permutation(subjects)[: max(1, round(HELD_BACK * len(subjects)))]
        held = train & index.subject.isin(set(kept.tolist()))
        return {"train": train & ~held, "stop": held}
    assert protocols[0].split is not None
    return {"train": train, "stop": labelled(protocols[0].split)}


def _features(
    entry: ModelEntry, encoder: Path, index: Index, rows: NDArray[np.bool_], recipe: Recipe, threads: int, part: str,
    progress: bool,
) -> tuple[Floats, NDArray[np.int64]]:  # fmt: skip
    """Returns the features of the rows that have a face, ``[n, features]``, and which rows those are."""
    from zoo.faces.pipeline import build_pipeline
    from zoo.runs.evaluate import progress_bar
    from zoo.runs.execute import RawCrops, crop_units, plan
    from zoo.runs.prepare import stored_crops
    from zoo.runtimes.onnxruntime_ import OnnxRuntimeSession

    assert entry.preprocess is not None
    model = with_features(encoder, recipe.features)
    session = OnnxRuntimeSession(
        model, entry.preprocess, device="cpu", precision="fp32", threads=1, streams=threads, batch=None
    )
    source = stored_crops(entry.preprocess, index) or RawCrops(index, build_pipeline(entry.preprocess, threads=threads))
    units = plan(index, np.where(rows, 0, -1).astype(np.int16))
    found: list[Floats] = []
    kept: list[NDArray[np.int64]] = []
    try:
        with closing(crop_units(index, units, source, workers=threads)) as prepared:
            batches = ((unit.unit.rows[unit.found], unit.crops) for unit in prepared if len(unit.crops))
            with progress_bar(int(rows.sum()), 0, part, progress) as bar:
                for places, tensors in session.stream(batches):
                    found.append(tensors[TENSOR])
                    kept.append(places)
                    bar.update(len(places))
    finally:
        session.close()
    if not found:
        raise DatasetError(
            f"no frame to fit on: the {part} frames of this copy have no face and label", where=str(index.root),
            fix=f"python -m zoo.check dataset={index.dataset} root={quote(str(index.root))}",
        )  # fmt: skip
    return np.concatenate(found), np.concatenate(kept)


def _module(features: int, recipe: Recipe, protocols: Sequence[ProtocolFile]) -> nn.ModuleDict:
    from torch import nn

    layers: dict[str, nn.Linear] = {"hidden": nn.Linear(features, recipe.hidden)} if recipe.hidden else {}
    for p in protocols:
        layers[tensor_of(p.task)] = nn.Linear(recipe.hidden or features, len(p.labels))
    for layer in layers.values():  # as Keras begins
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.ModuleDict(layers)


def _forward(module: nn.ModuleDict, x: torch.Tensor, task: Task) -> torch.Tensor:
    if "hidden" in module:
        x = module["hidden"](x).relu()
    y: torch.Tensor = module[tensor_of(task)](x)
    return y.tanh() if task == "valence-arousal" else y


def concordance(y: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Returns the CCC of each column over the rows, ``[columns]``."""
    y0, p0 = y - y.mean(0), p - p.mean(0)
    spread = y0.square().mean(0) + p0.square().mean(0) + (y.mean(0) - p.mean(0)).square()
    ccc: torch.Tensor = 2 * (y0 * p0).mean(0) / (spread + 1e-7)
    return ccc


def counts_of(protocol: ProtocolFile, y: Truth) -> NDArray[np.int64]:
    """Returns how many frames show each answer: expressions ``[classes]``; AUs ``[2, AUs]``, absent and present."""
    if protocol.task == "expression":
        return np.bincount(y[y >= 0].astype(np.int64), minlength=len(protocol.labels))
    return np.stack([(y == 0).sum(0), (y == 1).sum(0)])


def class_weights(protocol: ProtocolFile, y: Truth) -> Floats:
    """Returns what an answer weighs in the loss, in the shape of :func:`counts_of`; affect has no weights.

    Expressions: 1 for the most frequent class, the others inverse to their counts. AUs: absent and present together
    weigh the same.
    """
    if protocol.task == "valence-arousal":
        return np.empty(0, np.float32)
    counts = counts_of(protocol, y)
    least = np.maximum(counts, 1)
    weights = counts.max() / least if protocol.task == "expression" else counts.sum(0) / (2 * least)
    found: Floats = weights.astype(np.float32)
    return found


def unseen(protocol: ProtocolFile, y: Truth) -> list[str]:
    """Returns the classes that no frame shows, and the AUs that are never absent or never present."""
    if protocol.task == "valence-arousal":
        return []
    fewest = np.atleast_2d(counts_of(protocol, y)).min(axis=0).tolist()
    return [label for label, count in zip(protocol.labels, fewest, strict=True) if not count]


def _loss(task: Task, p: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor | None:
    """Returns the mean loss over the frames that are labelled; None where none is."""
    from torch.nn import functional

    if task == "expression":
        kept = y >= 0
        each = functional.cross_entropy(p[kept], y[kept].long(), weight=weights, reduction="none")
        return each.mean() if kept.any() else None
    coded = ~y.isnan()
    if task == "valence-arousal":
        whole = coded.all(1)
        return 1 - concordance(y[whole], p[whole]).mean() if whole.sum() > 1 else None
    known = y.nan_to_num()
    each = functional.binary_cross_entropy_with_logits(p, known, reduction="none")
    each = each * (weights[0] * (1 - known) + weights[1] * known)
    return each[coded].mean() if coded.any() else None


def _train(
    data: Mapping[str, tuple[Floats, dict[Task, Truth]]],
    protocols: Sequence[ProtocolFile],
    recipe: Recipe,
    threads: int,
    tell: Callable[[str], None],
) -> tuple[dict[str, Floats], int]:
    """Returns the layers of the best epoch, and its number."""
    import torch

    def tensors(part: str) -> tuple[torch.Tensor, dict[Task, torch.Tensor]]:
        x, truths = data[part]
        return torch.from_numpy(x), {t: torch.from_numpy(np.ascontiguousarray(v)) for t, v in truths.items()}

    x, y = tensors("train")
    x_stop, y_stop = tensors("stop")
    weights = {p.task: torch.from_numpy(class_weights(p, data["train"][1][p.task])) for p in protocols}
    tasks = [p.task for p in protocols]
    with torch.random.fork_rng(devices=[]), _torch_threads(threads):
        torch.manual_seed(recipe.seed)
        module = _module(x.shape[1], recipe, protocols)
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
        best, kept, number = -np.inf, {}, 0
        for epoch in range(1, recipe.epochs + 1):
            order = torch.randperm(len(x))
            for start in range(0, len(order), recipe.batch):
                rows = order[start : start + recipe.batch]
                losses = [_loss(t, _forward(module, x[rows], t), y[t][rows], weights[t]) for t in tasks]
                there = [loss for loss in losses if loss is not None]
                if not there:
                    continue
                total = torch.stack(there).sum()
                if not recipe.hidden:
                    squares = [w.square().sum() for name, w in module.named_parameters() if name.endswith("weight")]
                    total = total + torch.stack(squares).sum() / recipe.batch
                optimiser.zero_grad()
                total.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            with torch.inference_mode():
                scores = {t: _score(t, _forward(module, x_stop, t), y_stop[t], weights[t]) for t in tasks}
            tell(f"epoch {epoch}: " + ", ".join(f"{t} {value:.4f}" for t, value in scores.items()))
            if sum(scores.values()) > best:
                best, number = sum(scores.values()), epoch
                kept = copy.deepcopy(module.state_dict())
    if not kept:
        raise DatasetError("the head did not converge: its answers are not finite", fix="try fewer hidden units")
    return {key: value.numpy() for key, value in kept.items()}, number


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _score(task: Task, p: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> float:
    """Returns what the best epoch has most of: accuracy of expressions, else the loss with its sign turned."""
    if task == "expression":
        kept = y >= 0
        return float((p[kept].argmax(1) == y[kept]).float().mean())
    loss = _loss(task, p, y, weights)
    return float("nan") if loss is None else -float(loss)


def _entry(
    base: ModelEntry, file: WeightFile, encoder: Path, index: Index, protocols: Sequence[ProtocolFile], recipe: Recipe,
    head: Path, name: str, frames: int,
) -> ModelEntry:  # fmt: skip
    """Describes the network with its head."""
    architecture = next(key for key, value in FEATURES.items() if value == recipe.features)
    # The file as it was used lies where this machine keeps it; relative paths would start from another folder.
    near = [s for s in file.sources if not s.startswith("path:")] or [f"path:{encoder.resolve()}"]
    # Rendered people are a namespace of their own: a head that was rehearsed on them has not seen real ones.
    dataset = index.identities if index.synthetic else index.dataset
    seen: list[dict[str, Any]] = [{"dataset": dataset, "split": TRAIN, "use": "training"}]
    if recipe.stop_on == "validation":
        seen.append({"dataset": dataset, "split": protocols[0].split, "use": "selection"})
    activations = {"expression": "softmax", "au-occurrence": "sigmoid"}
    outputs: list[dict[str, Any]] = [
        {
            "task": p.task, "labels": list(p.labels), "role": "head", "tensor": tensor_of(p.task),
            "activation": activations.get(p.task, "none"),
            **({"threshold": 0.5} if p.task == "au-occurrence" else {}),
        }
        for p in protocols
    ]  # fmt: skip
    kind = f"{recipe.hidden} hidden units" if recipe.hidden else "logistic regression"
    assert base.preprocess is not None
    return ModelEntry.model_validate(
        {
            **base.model_dump(mode="json", exclude_none=True, exclude={"readings", "reported", "parameters"}),
            "name": name, "title": f"{base.title}, with a head fitted on {index.dataset} ({kind} on {recipe.features})",
            "family": "embedding-head", "architecture": architecture, "tasks": [p.task for p in protocols],
            "weights": [
                {**file.model_dump(mode="json", exclude_none=True), "role": "encoder", "sources": near},
                {"name": head.name, "role": "head", "format": "safetensors", "sources": [f"path:{head.name}"],
                 "sha256": sha256_of(head), "size": head.stat().st_size},
            ],
            "outputs": outputs,
            "trained_on": [
                *(t.model_dump(mode="json", exclude_none=True) for t in base.trained_on),
                *({**one, "subjects": "all", "source": "zoo.fit"} for one in seen),
            ],
            "status": "unverified",
            "notes": f"The head was fitted by zoo.fit on {frames} frames under {', '.join(p.ref for p in protocols)}, "
            f"manifest {index.manifest[:16]}, seed {recipe.seed}. The terms of {index.dataset} apply to it as well as "
            "the licence of the network.",
        }
    )  # fmt: skip
