"""Runs: a model over a dataset, its predictions, its scores, its record."""

from __future__ import annotations

from zoo.runs.evaluate import Evaluated, Settings, evaluate, evaluate_entry

__all__ = ["Evaluated", "Settings", "evaluate", "evaluate_entry"]
