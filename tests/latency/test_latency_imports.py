"""A suite of torch runs where only torch is: nothing else has to be installed for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"openvino", "av", "httpx2", "pyarrow", "h5py", "nncf", "onnxscript", "jinja2"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
"""

SUITE = """
name: short
version: 1
title: Short
models: ["*"]
structures: [mobilenetv3-large]
runtimes: [{runtime: torch}, {runtime: openvino}]
scenarios: [{name: SingleStream}]
baseline: {runtime: torch}
measure: {seconds: 0.2, slice: 0.05, rounds: 4, most: 5, warm_up: 0.5, queries: {SingleStream: 10}}
limits: {stolen: 1, foreign: 1, drift: 10, width: 10}
"""


def test_torch_is_timed_without_the_other_packages(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    (tmp_path / "short.yaml").write_text(SUITE)
    paths = [str(tmp_path), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-m", "zoo.bench", f"suite={tmp_path / 'short.yaml'}", "weights=random",
         f"out={tmp_path / 'out'}", "format=json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ZOO_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    torch, openvino = sorted(json.loads(done.stdout), key=lambda r: r["asked"]["runtime"] != "torch")
    assert torch["samples"]["count"] >= 10 and torch["parity"]["passed"]
    assert openvino["verdict"]["reasons"][0].startswith("the package 'openvino' is not installed")
