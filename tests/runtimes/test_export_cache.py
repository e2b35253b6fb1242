"""Graphs exported from torch: held against the module, and kept by what they were made from."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.models import pictures
from zoo._util.files import sha256_of, zoo_home
from zoo.errors import ContractError, DependencyError
from zoo.models import export
from zoo.models.onnx_graph import dims, initializer
from zoo.runtimes import open_session


class Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.conv(x / 255).mean((2, 3))
        return {"score": self.head(y), "feature": y}


def test_a_graph_takes_any_batch_and_keeps_names() -> None:
    model = export.to_onnx(Net().eval(), (3, 8, 8))
    assert [o.version for o in model.opset_import if not o.domain] == [export.OPSET]
    assert [(i.name, dims(i)) for i in model.graph.input] == [("image", [None, 3, 8, 8])]
    assert [(o.name, dims(o)) for o in model.graph.output] == [("score", [None, 2]), ("feature", [None, 4])]
    initializer(model, "head.weight")


def test_a_graph_carries_no_trace_of_its_maker() -> None:
    content = export.to_onnx(Net().eval(), (3, 8, 8)).SerializeToString()
    assert content == export.to_onnx(Net().eval(), (3, 8, 8)).SerializeToString()
    for trace in (b"site-packages", b".py", b"forward", b"pkg.torch"):
        assert trace not in content


def test_a_graph_that_differs_from_its_module_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.onnx.export

    def wrong(module, *args, **kwargs):
        return real(Net(seed=1).eval(), *args, **kwargs)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(ContractError, match="off by"):
        export.to_onnx(Net().eval(), (3, 8, 8))


def kept() -> list[str]:
    return sorted(p.name for p in (zoo_home() / "exports").glob("*"))


def test_exported_once_and_again_for_other_weights(xception, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.models.test_mini_xception import seeded, write

    exports = []
    real = export.to_onnx
    monkeypatch.setattr(export, "to_onnx", lambda *a: exports.append(1) or real(*a))
    crop = pictures(1, (64, 64), 1)

    def run(files, runtime: str):
        session = open_session(xception.entry, files, xception.tasks, runtime=runtime, threads=1)
        return session.info.exported, next(iter(session.infer(crop).values()))

    first, values = run(xception.files, "onnxruntime")
    assert (len(exports), len(kept())) == (1, 1)
    assert first == sha256_of(zoo_home() / "exports" / kept()[0])
    again, _ = run(xception.files, "openvino")
    assert again == first and len(exports) == 1

    changed = seeded()
    changed["conv2d_7/bias:0"] += np.arange(7, dtype=np.float32)
    other, values_changed = run({"e.hdf5": write(tmp_path / "e.hdf5", changed)}, "onnxruntime")
    assert other != first and (len(exports), len(kept())) == (2, 2)
    assert np.abs(values_changed - values).max() > 0.1


def test_a_kept_graph_needs_no_torch(xception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> str | None:
        return open_session(xception.entry, xception.files, xception.tasks, runtime="onnxruntime").info.exported

    first = run()
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it now fails
    assert run() == first
    for path in (zoo_home() / "exports").iterdir():
        path.unlink()
    with pytest.raises(DependencyError, match="'torch' is not installed"):
        run()


def test_an_interrupted_export_leaves_nothing(xception, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    def broken(model, path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        open_session(xception.entry, xception.files, xception.tasks, runtime="onnxruntime")
    assert kept() == []


def test_published_graphs_are_not_exported(hog) -> None:
    assert open_session(hog.entry, hog.files, hog.tasks, runtime="openvino").info.exported is None
    assert kept() == []


def test_a_graph_of_other_code_is_not_served(xception, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.runtimes import export as exporter

    code = exporter.model_code(xception.entry.family)
    assert {"export.py", "checkpoints.py", "networks/mini_xception.py"} <= code.keys()
    open_session(xception.entry, xception.files, xception.tasks, runtime="onnxruntime")
    monkeypatch.setattr(exporter, "model_code", lambda family: {**code, "export.py": "0" * 64})
    open_session(xception.entry, xception.files, xception.tasks, runtime="onnxruntime")
    assert len(kept()) == 2
