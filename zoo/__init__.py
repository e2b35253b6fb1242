"""Model zoo and benchmark harness for facial expression analysis.

The package imports nothing heavy: the names below are loaded when they are first used.

Example:
    >>> import zoo
    >>> zoo.list_models(task="au-intensity")[0]
    'hog-ridge'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo._version import __version__

if TYPE_CHECKING:
    from zoo.registry import get_model, list_models
    from zoo.runs import evaluate

__all__ = ["__version__", "evaluate", "get_model", "list_models"]

_HOMES = {"evaluate": "zoo.runs", "get_model": "zoo.registry", "list_models": "zoo.registry"}


def __getattr__(name: str) -> Any:
    """Loads a public name from the room that holds it, at first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
