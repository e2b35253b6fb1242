"""timm imports beside a torchvision whose compiled part does not fit torch, and beside one that fits."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_timm_imports_whatever_torchvision_is_installed() -> None:
    done = run(
        "from zoo.models._timm import import_timm\n"
        "timm = import_timm()\n"
        "assert timm is import_timm()\n"
        "import torch, torchvision\n"
        "x = timm.create_model('resnet18').eval()(torch.zeros(1, 3, 64, 64))\n"
        "print(x.shape[1], torch.ops.torchvision.nms)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1000 torchvision.nms")


def test_the_guard_is_what_does_it() -> None:
    """With operators that do not load, timm alone fails and the guard mends it; made so on any machine."""
    broken = (
        "import torch\n"
        "real = torch.ops.load_library\n"
        "def refuse(path):\n"
        "    if '_C' in path: raise OSError('libcudart.so: cannot open shared object file')\n"
        "    return real(path)\n"
        "torch.ops.load_library = refuse\n"
    )
    alone = run(broken + "import timm")
    assert alone.returncode != 0 and "torchvision::nms does not exist" in alone.stderr
    guarded = run(broken + "from zoo.models._timm import import_timm\nprint(import_timm().__name__)")
    assert guarded.returncode == 0, guarded.stderr
    assert guarded.stdout.strip() == "timm"
