"""Optional packages, imported when they are needed, with the command that installs them when they are not there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zoo.errors import DependencyError

_EXTRA = {
    "torch": "torch", "timm": "torch", "onnxscript": "torch", "safetensors": "torch", "h5py": "torch",
    "nncf": "int8",
    "jinja2": "site",
}  # fmt: skip


def need(module: str, why: str) -> Any:
    """Imports an optional module.

    Args:
        module: Its import name.
        why: What needs it, for the error.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".", maxsplit=1)[0]:
            raise
        root = module.split(".", maxsplit=1)[0]
        wanted = f"'libreface-zoo[{_EXTRA[root]}]'" if root in _EXTRA else root
        raise DependencyError(f"the package '{root}' is not installed", why=why, fix=f"pip install {wanted}") from None
