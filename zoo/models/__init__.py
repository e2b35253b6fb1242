"""Models: one module a family, which reads checkpoints; heads, which turn tensors into labels.

``heads.apply_outputs`` and ``base.select_files`` are what callers use; the rest serves :mod:`zoo.runtimes`.
"""

from __future__ import annotations

from zoo.models.base import Family, Graph, load_family, select_files
from zoo.models.heads import apply_outputs, check_finite, verify_contract

__all__ = ["Family", "Graph", "apply_outputs", "check_finite", "load_family", "select_files", "verify_contract"]
