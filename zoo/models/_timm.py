"""The one place that imports timm.

timm imports torchvision. A torchvision whose compiled part does not fit the installed torch (one built for CUDA
beside a torch for the CPU) cannot register its operators, and its Python part then fails on import with
"operator torchvision::nms does not exist". timm's models use none of them, so declaring their schemas is enough.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo._util.optional import need

# Signatures of torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp.
_SCHEMAS = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # fmt: skip
_kept: list[Any] = []  # a library's declarations go when it does


def _operators_load(torch: Any) -> bool:
    """Loads torchvision's compiled part, as torchvision itself would; False where it does not fit this torch."""
    spec = find_spec("torchvision")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for library in Path(folder).glob("_C.*"):
            try:
                torch.ops.load_library(str(library))
            except OSError:
                return False
            return True
    return False


@cache
def import_timm() -> ModuleType:
    """Imports timm, whatever torchvision is installed beside torch.

    Raises:
        DependencyError: timm or torch is not installed.
    """
    torch = need("torch", "timm is built on torch")
    if not _operators_load(torch):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        _kept.append(library)
    module: ModuleType = need("timm", "the model's structure is timm's")
    return module
