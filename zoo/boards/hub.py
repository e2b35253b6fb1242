"""Evaluation results in the Hub's own metadata: the ``model-index`` of a model card.

Only what a board ranks is exported: held out, on a whole copy of real data. The Hub has no field for an interval, so
it stands in the metric's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.boards.collect import Collection
from zoo.boards.text import AGGREGATION_TITLES, METRIC_TITLES, TASK_TITLES, interval
from zoo.registry.labels import Task

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

# The Hub's task names: expressions are classes of a picture, the others are numbers of it.
_HUB_TASKS: dict[Task, str] = {
    "expression": "image-classification", "au-occurrence": "image-classification",
    "au-intensity": "other", "valence-arousal": "other",
}  # fmt: skip


def evaluation_results(collection: Collection, model: str, *, url: str | None = None) -> list[EvalResult]:
    """Returns the ranked results of a model as the Hub's client writes them.

    Args:
        collection: The boards.
        model: Model name.
        url: Where the boards' folder can be read; each result then links to its record.
    """
    from huggingface_hub import EvalResult

    found = []
    for board in collection.boards:
        protocol = board.protocol
        for row in board.rows:
            if row.record.model.name != model or not row.ranked or row.headline.value is None:
                continue
            primary, used = protocol.primary, row.record.runtime
            name = (
                f"{METRIC_TITLES[primary.metric]}, {AGGREGATION_TITLES[primary.aggregation]}: {interval(row.headline)}"
            )
            found.append(
                EvalResult(
                    task_type=_HUB_TASKS[protocol.task], task_name=f"{TASK_TITLES[protocol.task]} ({protocol.ref})",
                    dataset_type=protocol.dataset, dataset_name=protocol.title, metric_type=primary.metric,
                    metric_name=f"{name} ({used.runtime} {used.precision})", metric_value=round(row.headline.value, 4),
                    source_name="LibreFace Zoo" if url else None,
                    source_url=f"{url.rstrip('/')}/{row.path}" if url else None,
                )
            )  # fmt: skip
    return found


def model_index(collection: Collection, model: str, *, url: str | None = None) -> dict[str, Any]:
    """Returns the ``model-index`` of a model card: empty where nothing of the model is ranked.

    Args:
        collection: The boards.
        model: Model name.
        url: Where the boards' folder can be read.
    """
    from huggingface_hub.repocard_data import eval_results_to_model_index

    found = evaluation_results(collection, model, url=url)
    return {"model-index": eval_results_to_model_index(model, found)} if found else {}
