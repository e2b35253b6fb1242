"""Cells and words that several pages share."""

from __future__ import annotations

import re
from html import escape

from zoo.boards.collect import Collection, Row, Timing
from zoo.boards.published import GAP_TITLES, place, source_link
from zoo.boards.site import tables as t
from zoo.boards.site.tables import Cell
from zoo.boards.text import DASH, TASK_TITLES, interval, signed, three_digits
from zoo.registry import ModelEntry
from zoo.results.record import Estimate

COMMERCIAL = {True: "allowed", False: "not allowed", "unknown": "unclear"}

TONES = {
    "held_out": "good", "in_sample": "bad", "identity_overlap": "bad", "selection_only": "bad", "unknown": "plain",
    "verified": "good", "unverified": "plain", "external": "plain", "reported-only": "plain", "deprecated": "bad",
    "allowed": "good", "not allowed": "bad", "unclear": "plain",
}  # fmt: skip

FILTERS = {
    "task": "Task", "commercial": "Commercial use", "status": "Status", "runtime": "Runtime", "device": "Device",
    "precision": "Precision", "training": "Training data", "threads": "Threads", "scenario": "Scenario",
    "stage": "Stage", "machine": "Machine", "verdict": "Verdict",
}  # fmt: skip
"""Every filter in the order shown, by the name that rows carry."""


def commercial_use(entry: ModelEntry | None) -> str:
    """Returns whether a licence allows commercial use, in words."""
    return COMMERCIAL[entry.licence.commercial_use] if entry else "unclear"


def model_link(collection: Collection, name: str | None, up: str = "../") -> str | None:
    """Returns where a model's page is; None for a model without one."""
    return f"{up}models/{name}.html" if name in model_names(collection) else None


def model_names(collection: Collection) -> list[str]:
    """Returns the models that have a page: those of the registry, and others that were measured."""
    names = {*collection.registry.entries}
    names |= {r.record.model.name for b in collection.boards for r in b.everything}
    names |= {x.record.model.name for x in collection.timings if x.record.model.weights == "published"}
    return sorted(names)


def count(number: int, noun: str) -> str:
    """Writes a number of things: ``1 fold``, ``5 folds``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain(text: str) -> str:
    """Takes Markdown's marks out of a sentence."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return text.replace("**", "").replace("`", "")


def rich(text: str) -> str:
    """Turns a sentence in Markdown into HTML: code, bold, and links to files here or by https; the rest escaped."""
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
    text = re.sub(r"\[([^\]]*)\]\(((?:\.\./|https://)[^)]*)\)", r'<a href="\2">\1</a>', text)
    return re.sub(r"\*\*([^*]*)\*\*", r"<b>\1</b>", text)


def estimate(found: Estimate | None) -> Cell:
    """A cell of a value, with its interval on a second line."""
    if found is None or found.value is None:
        return Cell(DASH)
    text, _, ends = interval(found).partition(" ")
    return t.figure(found.value, text, more=ends)


def beside(row: Row) -> list[Cell]:
    """Three cells: the published figure, the gap, and its reason."""
    if row.beside is None:
        return [Cell(DASH), Cell(DASH), Cell("no figure", sort="no figure")]
    p = row.beside.published
    return [
        t.figure(p.value, p.text, title=place(p.source, p.table), href=source_link(p.source)),
        t.figure(row.beside.gap, signed(row.beside.gap)), t.text(GAP_TITLES[row.beside.code], title=p.comparable.text),
    ]  # fmt: skip


def run_as(row: Row) -> str:
    """Runtime and precision of an accuracy record."""
    used = row.record.runtime
    return f"{used.runtime} {used.precision}" + ("" if used.device == "cpu" else f" {used.device}")


def network_alone(timing: Timing) -> bool:
    """Whether it is of one picture at a time and of the network alone."""
    return (timing.record.scenario.name, timing.record.stage) == ("SingleStream", "encoder")


def timed_as(timing: Timing) -> str:
    """Runtime, precision and threads of a latency record."""
    asked = timing.record.asked
    device = "" if asked.device == "cpu" else f" {asked.device}"
    random = ", structure" if timing.record.model.weights == "random" else ""
    return f"{asked.how} {asked.precision}{device}, {count(asked.threads, 'thread')}{random}"


def rate(timing: Timing) -> Cell:
    """A cell of images a second."""
    found = timing.record.throughput
    return t.figure(found.value, three_digits(found.value)) if found else Cell(DASH)


def timing_filters(timing: Timing) -> dict[str, tuple[str, ...]]:
    """Returns what rows of latency tables are filtered by."""
    record, asked = timing.record, timing.record.asked
    return {
        "runtime": (asked.runtime,), "device": (asked.device,), "precision": (asked.precision,),
        "threads": (str(asked.threads),), "scenario": (record.scenario.title,), "stage": (record.stage,),
        "machine": (timing.machine,), "task": tuple(TASK_TITLES[x] for x in record.model.tasks),
    }  # fmt: skip
