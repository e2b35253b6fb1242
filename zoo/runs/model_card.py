"""The README of a published model: what it computes, under which contract and licence, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.registry.labels import Task
from zoo.registry.schema import Licence, ModelEntry, Output, slug

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TITLES: dict[Task, str] = {
    "au-intensity": "AU intensity", "au-occurrence": "AU occurrence", "expression": "expression",
    "valence-arousal": "valence and arousal",
}  # fmt: skip

OPEN_LICENCES = frozenset({
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-4.0",
    "CC0-1.0", "ISC", "MIT", "MPL-2.0",
})  # fmt: skip
"""SPDX identifiers whose texts let anyone pass on copies and converted copies, on conditions (notice, attribution,
same licence, no commerce). The Hub writes the same identifiers in lower case."""


def model_card(
    entry: ModelEntry,
    published: Sequence[ModelEntry],
    repo: str,
    *,
    parity: Mapping[str, float],
    results: Sequence[EvalResult] = (),
    own_word: bool = False,
    licence_file: str | None = None,
) -> str:
    """Returns the text of ``README.md``, with the Hub's metadata in front.

    Args:
        entry: The entry that was published.
        published: The entries that its files make: ONNX, and safetensors where there are any.
        repo: ``owner/name``.
        parity: Largest difference of each file from the source, relative to the largest output.
        results: Evaluation results for the metadata and the table.
        own_word: Whether the publisher's word, not the registry, says that the files may be passed on.
        licence_file: Name of the file that holds the licence's text.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=_hub_licence(entry.licence),
        license_name=None if entry.licence.name in OPEN_LICENCES else slug(entry.licence.name),
        license_link=None if entry.licence.name in OPEN_LICENCES else licence_file or entry.licence.url,
        library_name="libreface-zoo",
        pipeline_tag="image-classification" if {"expression", "au-occurrence"} & {*entry.tasks} else None,
        tags=["facial-expression-analysis", *entry.tasks, "onnx", *(["safetensors"] if len(published) > 1 else [])],
        model_name=entry.name if results else None,
        eval_results=list(results) or None,
    )
    parts = [
        f"---\n{data.to_yaml()}\n---\n\n# {entry.title}",
        _about(entry),
        "## Run it\n\n" + _run(entry, published, repo),
        "## Input\n\n" + _input(entry),
        "## Output\n\n" + "\n".join(_output(o) for o in entry.outputs),
        "## Files\n\n" + _files(published, parity),
        "## Licence\n\n" + _licence(entry.licence, own_word, licence_file),
        "## Trained on\n\n" + _trained(entry),
        "## Evaluation\n\n" + _evaluation(results),
    ]
    return "\n\n".join(parts) + "\n"


def _hub_licence(licence: Licence) -> str:
    return licence.name.lower() if licence.name in OPEN_LICENCES else "other"


def _about(entry: ModelEntry) -> str:
    tasks = ", ".join(_TITLES[t] for t in entry.tasks)
    size = f", {entry.parameters:,} parameters" if entry.parameters else ""
    what = f"{tasks[0].upper()}{tasks[1:]}. Architecture `{entry.architecture}`{size}."
    lines = [f"{what} Entry `{entry.name}` of the LibreFace Zoo."]
    if entry.notes:
        lines.append(entry.notes)
    if paper := entry.paper:
        where = paper.url or (f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else "")
        lines.append("Paper: " + ", ".join(str(x) for x in (paper.title, paper.year, where) if x))
    if entry.repository:
        lines.append(f"Source: {entry.repository}")
    return "\n\n".join(lines)


def _run(entry: ModelEntry, published: Sequence[ModelEntry], repo: str) -> str:
    first = published[0]
    fold = next((f" fold={w.fold.name}" for w in first.weights if w.fold), "")
    lines = ["With the zoo, on whole pictures:", "", "```sh", f"hf download {repo} registry.yaml --local-dir ."]
    lines += [
        f"python -m zoo.predict registry=registry.yaml model={e.name}"
        f"{'' if e is first else ' runtime=torch'}{fold} input=photo.jpg"
        for e in published
    ]
    lines += [
        "```", "", "With ONNX Runtime, numpy and Pillow alone, on aligned crops (`run.py`; the graph does what follows "
        "the crop):", "", "```sh", f"hf download {repo} --local-dir model", "python model/run.py crop.png", "```",
    ]  # fmt: skip
    if fold:
        lines += ["", f"{entry.name} has one checkpoint a fold; each may be scored on its own test subjects only."]
    return "\n".join(lines)


def _input(entry: ModelEntry) -> str:
    from zoo.faces.pipeline import describe

    assert entry.preprocess is not None
    chain = entry.preprocess
    steps = [f"{i}. `{step}`" for i, step in enumerate(describe(chain), 1)]
    mean, std = (", ".join(f"{x:g}" for x in values) for values in (chain.mean, chain.std))
    return "\n".join([
        *steps, "",
        f"A crop is {chain.size[1]}x{chain.size[0]} pixels, {chain.colour}. The ONNX files take it as uint8 "
        f"`[n, {chain.size[0]}, {chain.size[1]}, {chain.channels}]` and normalise it themselves: pixel x "
        f"{chain.scale:.9g}, minus {mean}, over {std}. `contract.json` has the same for programs; its hash is "
        f"`{chain.hash}`.",
    ])  # fmt: skip


def _output(output: Output) -> str:
    what = [f"tensor `{output.tensor}`" if output.tensor else "the one tensor"]
    what += [f"columns from {output.start}"] if output.start else []
    what += [f"then {output.activation}"] if output.activation != "none" else []
    what += [f"times {output.scale:g}"] if output.scale != 1 else []
    what += [f"limited to {output.clamp[0]:g} to {output.clamp[1]:g}"] if output.clamp else []
    what += [f"present at {output.threshold:g} and above"] if output.threshold is not None else []
    return f"- {_TITLES[output.task]}: {', '.join(what)}. Labels in order: {', '.join(output.labels)}."


def _files(published: Sequence[ModelEntry], parity: Mapping[str, float]) -> str:
    lines = ["| file | fold | bytes | differs from the source by | sha256 |", "|---|---|---|---|---|"]
    for entry in published:
        for w in entry.weights:
            fold = w.fold.name if w.fold else "–"
            lines.append(f"| `{w.name}` | {fold} | {w.size} | {parity[w.name]:.1e} | `{w.sha256}` |")
    return "\n".join([*lines, "", "Differences are the largest on fixed inputs, relative to the largest output."])


def _licence(licence: Licence, own_word: bool, licence_file: str | None) -> str:
    commercial = {True: "allowed", False: "not allowed", "unknown": "unclear"}[licence.commercial_use]
    lines = [f"{licence.name}{f', {licence.url}' if licence.url else ''}. Commercial use: {commercial}."]
    lines += [licence.note] if licence.note else []
    lines += [f"Its text is in `{licence_file}`."] if licence_file else []
    lines += ["Published on its publisher's word that these files may be passed on."] if own_word else []
    return "\n\n".join(lines)


def _trained(entry: ModelEntry) -> str:
    if not entry.trained_on:
        return "Not known. Scores on any dataset may be on data that the model has seen."
    lines = []
    for t in entry.trained_on:
        subjects = t.subjects if isinstance(t.subjects, str) else ", ".join(t.subjects)
        about = [t.use, f"split {t.split}" if t.split else f"subjects: {subjects}", *([t.source] if t.source else [])]
        lines.append(f"- {t.dataset}: {'; '.join(about)}")
    return "\n".join(lines)


def _evaluation(results: Sequence[EvalResult]) -> str:
    if not results:
        return "No held-out result on a whole copy of real data has been recorded for this entry."
    lines = ["| protocol | metric | value | record |", "|---|---|---|---|"]
    for r in results:
        record = f"[record]({r.source_url})" if r.source_url else "–"
        lines.append(f"| {r.task_name} | {r.metric_name} | {r.metric_value} | {record} |")
    return "\n".join(lines)
