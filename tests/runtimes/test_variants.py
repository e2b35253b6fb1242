"""How torch runs a module: each variant computes the same, says what it is, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.models import pictures
from zoo.errors import RuntimeUnavailableError, UnknownNameError
from zoo.registry.schema import Preprocess
from zoo.runtimes import open_session
from zoo.runtimes.parity import compare
from zoo.runtimes.torch_ import TorchSession, _store_weights, _without_tf32

pytestmark = pytest.mark.usefixtures("shared_home")

SMALL = Preprocess(size=(16, 16), scale=1 / 255)


class Network(nn.Module):
    """Two convolutions and a linear layer; tells how its input lay in memory."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.last = nn.Linear(8, 5)
        self.seen: list[bool] = []

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if not torch.compiler.is_compiling():
            self.seen.append(x.is_contiguous())
        y = torch.relu(self.second(torch.relu(self.first(x))))
        return {"output": self.last(y.mean((2, 3)))}


def _session(module: nn.Module, **change: object) -> TorchSession:
    settings = {"device": "cpu", "precision": "fp32", "threads": 1, "streams": 1, "batch": 2, **change}
    return TorchSession(module.eval(), SMALL, **settings)  # type: ignore[arg-type]


def test_channels_last_is_channels_last_and_eager_is_contiguous() -> None:
    crops = pictures(2, (16, 16), 3)
    plain, last = Network(), Network()
    expected = _session(plain).infer(crops)["output"]
    session = _session(last, variant="channels-last")
    np.testing.assert_allclose(session.infer(crops)["output"], expected, atol=1e-5)
    assert plain.seen == [True] and last.seen == [False]
    assert last.first.weight.is_contiguous(memory_format=torch.channels_last)
    assert not plain.second.weight.is_contiguous(memory_format=torch.channels_last)
    assert (session.info.variant, session.info.mode) == ("channels-last", None)


def test_compiled_computes_the_same_and_is_compiled_when_it_opens() -> None:
    crops = pictures(2, (16, 16), 3)
    expected = _session(Network()).infer(crops)["output"]
    session = _session(Network(), variant="compiled")
    assert (session.info.variant, session.info.mode) == ("compiled", "default")
    with torch.compiler.set_stance("fail_on_recompile"):  # and no other code is made for other pictures
        np.testing.assert_allclose(session.infer(crops)["output"], expected, atol=1e-5)
        session.infer(crops[::-1].copy())


def test_without_a_compiler_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    torch._dynamo.reset()
    from torch._inductor import cpp_builder

    for name in ("get_cpp_compiler", "_get_cpp_compiler"):
        if hasattr(getattr(cpp_builder, name, None), "cache_clear"):
            getattr(cpp_builder, name).cache_clear()
    with pytest.raises(RuntimeUnavailableError, match=r"torch\.compile cannot compile") as caught:
        _session(Network(), variant="compiled")
    assert "C++ compiler" in str(caught.value.fix)


def test_what_torch_would_leave_to_python_is_refused() -> None:
    class Printing(Network):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            if float(x.sum()) > 0:  # depends on a value: torch.compile breaks the graph here
                x = x + 1
            return super().forward(x)

    with pytest.raises(RuntimeUnavailableError, match=r"torch\.compile cannot compile"):
        _session(Printing(), variant="compiled")


def test_weights_kept_in_bf16_give_what_autocast_gives() -> None:
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    cast, kept = Network().eval(), Network().eval()
    _store_weights(kept, torch.bfloat16)
    assert {p.dtype for p in kept.parameters()} == {torch.bfloat16}
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cast(x)["output"], kept(x)["output"])


def test_bf16_of_a_session_is_near(hog) -> None:
    exact, rough = (
        open_session(hog.entry, hog.files, hog.tasks, runtime="torch", precision=p) for p in ("fp32", "bf16")
    )
    for found in compare(exact, rough, pictures(3, hog.entry.preprocess.size, 3)).values():
        assert found.within(0.1)


def test_variants_are_torchs_own(hog) -> None:
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(RuntimeUnavailableError, match="has no variant 'compiled'"):
            open_session(hog.entry, hog.files, hog.tasks, runtime=runtime, variant="compiled")
    with pytest.raises(UnknownNameError, match="compield"):
        open_session(hog.entry, hog.files, hog.tasks, runtime="torch", variant="compield")


def test_channels_last_of_what_has_no_convolutions_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"output": self.last(x.mean((2, 3)))}

    with pytest.raises(RuntimeUnavailableError, match="no convolution weights"):
        _session(Flat(), variant="channels-last")


def test_tf32_is_off_for_the_call_and_cudnn_stays_on() -> None:
    torch.backends.cudnn.allow_tf32 = True
    enabled = torch.backends.cudnn.enabled
    with _without_tf32():
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.enabled == enabled
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("precision", "variant"),
    [("fp32", "eager"), ("bf16", "eager"), ("fp16", "eager"), ("fp16", "channels-last"), ("fp16", "compiled")],
)
def test_on_a_gpu_every_precision_and_variant_agrees_with_the_processor(precision: str, variant: str) -> None:
    crops = pictures(2, (16, 16), 3)
    expected = _session(Network()).infer(crops)["output"]
    session = _session(Network(), device="cuda:0", precision=precision, variant=variant)
    limit = {"fp32": 1e-4, "bf16": 0.05, "fp16": 0.01}[precision]
    assert np.abs(session.infer(crops)["output"] - expected).max() <= limit * np.abs(expected).max()
    assert (session.info.device, session.info.precision) == ("cuda:0", precision)
    assert session.peak_memory()
