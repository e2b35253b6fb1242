"""The registry: which models there are, and their contracts.

Entries come from `registry.yaml`, then from the user's own files (``ZOO_REGISTRY``, paths joined by the system's path
separator, or ``registry=`` on the command line), then from installed packages that declare the entry point group
``zoo.registries``. A later entry replaces an earlier one of the same name.
"""

from __future__ import annotations

from zoo.registry.loading import Registry, get_model, list_models, load_registry
from zoo.registry.schema import ModelEntry, Output, Preprocess, WeightFile

__all__ = [
    "ModelEntry", "Output", "Preprocess", "Registry", "WeightFile", "get_model", "list_models", "load_registry",
]  # fmt: skip
