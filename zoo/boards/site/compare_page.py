"""The page that sets two models side by side; its data travel in the page, its tables are made by the script."""

from __future__ import annotations

import json
from typing import Any

from zoo.boards.collect import Board, Collection
from zoo.boards.published import WHY_TITLES, evidence, place
from zoo.boards.site.model_page import facts
from zoo.boards.site.shared import commercial_use, model_names, network_alone, timed_as
from zoo.boards.text import FLAG_TITLES, LOWER_IS_BETTER, METRIC_TITLES


def compare_page(collection: Collection) -> dict[str, Any]:
    """Returns what the template needs."""
    models = {name: _model(collection, name) for name in model_names(collection)}
    # Where a reader has chosen nothing: the two of which most is known.
    known = sorted(models, key=lambda n: [-len(models[n][k]) for k in ("measured", "reported", "times")])
    data = {
        "models": models,
        "start": known[:2],
        "boards": {b.name: _board(b) for b in collection.boards},
    }
    # "</" would end the element that carries it.
    return {"data": json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":")).replace("</", "<\\/")}


def _board(board: Board) -> dict[str, Any]:
    protocol = board.protocol
    return {
        "title": protocol.title, "id": protocol.id, "href": f"boards/{board.name}.html",
        "metric": METRIC_TITLES[protocol.primary.metric], "lower": protocol.primary.metric in LOWER_IS_BETTER,
    }  # fmt: skip


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _model(collection: Collection, name: str) -> dict[str, Any]:
    entry = collection.registry.entries.get(name)
    measured: dict[str, Any] = {}
    reported: dict[str, Any] = {}
    for board in collection.boards:
        row = next((r for r in board.rows if r.record.model.name == name), None)
        if row and row.headline.value is not None:
            found = row.headline
            measured[board.name] = {
                "value": _round(found.value), "low": _round(found.low), "high": _round(found.high),
                "flag": FLAG_TITLES[row.record.contamination], "ranked": row.ranked,
                "labels": [[x.label, _round(x.value)] for x in row.score.per_label] if row.score else [],
            }  # fmt: skip
        figure = evidence(name, board.protocol.primary.metric, board.published)
        if figure:
            reported[board.name] = {
                "text": figure.text, "why": WHY_TITLES[figure.comparable.why],
                "source": place(figure.source, figure.table),
            }  # fmt: skip
    times: dict[str, dict[str, list[float | bool | None]]] = {}
    for timing in collection.timings_of(entry, name):
        found = timing.median
        if network_alone(timing) and found.value is not None:
            random = timing.record.model.weights == "random"
            values = [_round(found.value), _round(found.low), _round(found.high), random]
            times.setdefault(timing.machine, {}).setdefault(timed_as(timing).removesuffix(", structure"), values)
    about = [[k, v] for k, v, _ in facts(entry)] if entry else []
    if entry:
        about += [["Commercial use", commercial_use(entry)], ["Status", entry.status]]
        if entry.preprocess:
            about.append(
                ["Input", f"{entry.preprocess.size[0]} × {entry.preprocess.size[1]}, {entry.preprocess.colour}"]
            )
    return {
        "title": entry.title if entry else name, "facts": about, "measured": measured, "reported": reported,
        "times": times,
    }  # fmt: skip
