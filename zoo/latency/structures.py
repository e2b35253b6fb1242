"""Network structures with seeded weights: what a structure costs can be measured without anyone's weights.

A structure's time is that of any weights in it. Its outputs mean nothing, but they are of ordinary size, so that a
runtime or a precision that computes something else is seen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import atomic_path, content_hash, sha256_of, zoo_home
from zoo._util.optional import need
from zoo.errors import UnknownNameError, ZooError
from zoo.registry.schema import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

CALIBRATION = 32
"""Faces that statistics and int8 ranges are taken from; of other people than those that parity is checked on."""


@dataclass(frozen=True)
class Structure:
    """One structure.

    Attributes:
        architecture: Its name in the registry, or timm's name of a bare encoder with pooled features.
        make: Makes the module, which gives a tensor or tensors by name; None for timm's encoder.
        contract: Registry model whose preprocess contract crops faces for it in a pipeline.
        side: Of its square input, in pixels.
    """

    architecture: str
    make: Callable[[], nn.Module] | None = None
    contract: str | None = None
    side: int = 224

    @property
    def preprocess(self) -> Preprocess:
        """What it takes: pixels of 0..255; a normalisation (ImageNet's) is inside."""
        return Preprocess(size=(self.side, self.side), scale=1.0)

    @property
    def preprocess_int8(self) -> Preprocess:
        """What its int8 graphs take: the uint8 crops themselves."""
        return self.preprocess.model_copy(update={"layout": "nhwc"})

    def build(self) -> nn.Module:
        """Makes the module with whatever its initialisers give."""
        return self.make() if self.make else _encoder(self.architecture)


def _encoder(name: str) -> nn.Module:
    from zoo.models._timm import import_timm

    # exportable: activations as plain operators instead of torch's own fused functions
    module: nn.Module = import_timm().create_model(name, pretrained=False, num_classes=0, exportable=True)
    return module


def _network(module: str) -> Any:
    return import_module(f"zoo.models.networks.{module}")  # torch comes with it: not before something is built


STRUCTURES: dict[str, Structure] = {
    "resnet18": Structure("resnet18"),
    "resnet50": Structure("resnet50"),
    "mobilenetv3-large": Structure("mobilenetv3_large_100"),
    "efficientnet-b0": Structure("efficientnet_b0"),
    "efficientnet-b2": Structure("efficientnet_b2"),
    "swin-tiny": Structure("swin_tiny_patch4_window7_224"),
    "convnextv2-tiny": Structure("convnextv2_tiny"),
    "vit-base": Structure("vit_base_patch16_224"),
    "libreface-resnet18": Structure(
        "libreface-resnet18",
        lambda: _network("libreface").LibreFaceResNet18({"au_intensity": 12, "au_presence": 12}),
        "libreface-r18",
    ),
    "libreface-repvgg-a0": Structure(
        "libreface-repvgg-a0",
        lambda: _network("libreface").LibreFaceRepVgg("au_intensity", 12, sigmoid=False),
        "libreface-r18",
    ),
    "libreface-swin-t": Structure(
        "libreface-swin-t",
        lambda: _network("libreface_transformers").SwinIntensity("au_intensity", 12),
        "libreface-r18",
    ),
    "libreface-mae-b": Structure(
        "libreface-mae-b", lambda: _network("libreface_transformers").MaeIntensity("au_intensity", 12), "libreface-r18"
    ),
    "hsemotion-enet-b0": Structure("tf_efficientnet_b0", contract="hsemotion-enet-b0-8-best-vgaf"),
    "hsemotion-enet-b2": Structure("tf_efficientnet_b2", contract="hsemotion-enet-b2-8", side=260),
    "emonet": Structure("emonet", lambda: _network("emonet").EmoNet(8), "emonet-8", side=256),
    "openface3": Structure("openface3-mtl", lambda: _network("graph_au").OpenFace3(), "openface3"),
    "resmasknet": Structure("resmasknet", lambda: _network("resmasknet").ResMaskNet(), "resmasknet"),
    "dan": Structure("dan-affectnet8", lambda: _network("dan").Dan("expression", 8), "dan"),
    "emo-affectnet": Structure(
        "emo-affectnet-resnet50", lambda: _network("emo_affectnet").EmoAffectNet("expression"), "emo-affectnet"
    ),
    "jaa-net": Structure(
        "jaa-net-v2", lambda: _network("jaa_net").JaaNet("au", _network("jaa_net").ORDERS[0], 2), side=176
    ),
    "me-graphau-resnet50": Structure(
        "me-graphau-resnet50", lambda: _network("graph_au").MeGraphAu("resnet50", "au", 12)
    ),
}
"""Structures that can be timed with seeded weights: bare encoders of timm, then those of registry models."""


def get_structure(name: str) -> Structure:
    """Returns a structure by name.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in STRUCTURES:
        raise UnknownNameError("structure", name, STRUCTURES, where="zoo/latency/structures.py")
    return STRUCTURES[name]


_KEPT_MEAN, _LEAST_VARIANCE = 0.5, 0.3
"""How batch normalisation of seeded weights differs from statistics taken as they are; found by trying. With 0 and 1,
int8 moves outputs of RepVGG-A0 and MobileNetV3 by their whole range; with these by 0.16 and 0.12 to 0.21 of it, those
of EfficientNet-B0 by 0.05, and what differs between two faces still comes through."""


def _take_statistics(norm: Any, inputs: tuple[Tensor]) -> None:
    """Gives a batch normalisation the statistics of what arrives, but for what would blow up rounding.

    A part of each channel's mean stays in: random features differ little between pictures, and without their mean
    nothing but that little is left. The variance of a channel is at least a share of all channels': one in which
    hardly anything happens would be blown up to the size of the others.
    """
    (x,) = inputs
    dims = [d for d in range(x.ndim) if d != 1]
    mean = x.mean(dims) * (1 - _KEPT_MEAN)
    variance = (x - mean.view(1, -1, *(1 for _ in dims[1:]))).square().mean(dims)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance.clamp_min(_LEAST_VARIANCE * float(variance.mean())))


def build(name: str, seed: int = 0) -> nn.Module:
    """Makes a structure with seeded weights: 0..255 ``[n, 3, side, side]`` in, ``[n, columns]`` by name out.

    Initialisers leave whole tensors at 0 or 1, with which parts of a network compute nothing; they get noise. Batch
    normalisation gets statistics of rendered faces and of noise, so that activations keep their size to the end for
    both: parity is checked on faces, an exported graph on noise. The weights are kept in the cache folder.

    Raises:
        UnknownNameError: No such structure.
        DependencyError: torch, timm or safetensors is not installed.
    """
    structure = get_structure(name)
    torch = need("torch", "structures are torch modules")
    files = need("safetensors.torch", "weights of structures are kept as safetensors")
    kept = zoo_home() / "exports" / f"random-{name}-{_key(name, seed)}.safetensors"
    from torch import nn

    class Named(nn.Module):
        mean: Tensor
        std: Tensor

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner
            self.register_buffer("mean", 255 * torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1))
            self.register_buffer("std", 255 * torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.inner((x - self.mean) / self.std)
            return y if isinstance(y, dict) else {"output": y}

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        inner = structure.build()
        if kept.exists():
            inner = _folded(inner.eval())
            inner.load_state_dict(files.load_file(kept))
            return Named(inner).eval()
        for parameter in inner.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        inner.eval()
        norms = [m for m in inner.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
        if norms:
            Named(inner)(torch.from_numpy(_faces_and_noise(structure.preprocess, 2)).permute(0, 3, 1, 2).float())
        for hook in hooks:
            hook.remove()
        inner = _folded(inner)
    with atomic_path(kept) as temporary:
        files.save_file({key: value.contiguous().clone() for key, value in inner.state_dict().items()}, temporary)
    return Named(inner).eval()


def _folded(module: nn.Module) -> nn.Module:
    """Returns the module with branches that are one convolution when the model runs as one."""
    fold: Any = getattr(module, "folded", None)
    folded: nn.Module = module if fold is None else fold()
    return folded


def load_libraries() -> None:
    """Imports what :func:`build` needs, which takes seconds; nothing is said where it is not there."""
    from zoo.models._timm import import_timm

    with suppress(ZooError):
        import_timm()


_ONNX_RUNTIME = ("onnxruntime", "onnxruntime-gpu")
"""Its packages; one of them is installed."""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _key(name: str, seed: int, *packages: str) -> str:
    """Returns a hash of what a graph is made from; ``packages``: those that lower its precision."""
    get_structure(name)  # a mistyped name gets its own error
    from zoo.models import networks
    from zoo.models.export import OPSET

    sources = [Path(__file__), *sorted(Path(networks.__path__[0]).glob("*.py"))]
    if packages:  # of another precision; not imported, so that it takes no memory of a measured process
        sources.append(Path(__file__).parent.parent / "runtimes" / "quantise.py")
    made_by = ("torch", "timm", "onnxscript", *packages)
    return content_hash({
        "name": name, "seed": seed, "opset": OPSET, "sources": [sha256_of(p) for p in sources],
        **{package: _version(package) for package in made_by},
    }, 32)  # fmt: skip


def exported(name: str, seed: int = 0) -> Path:
    """Returns a structure's ONNX graph, exporting it if it is not in the cache.

    Finding it there loads no torch, so that a measured process holds only what it measures.

    Raises:
        UnknownNameError: No such structure.
        DependencyError: torch, timm or onnxscript is not installed and the graph is not in the cache.
    """
    path = zoo_home() / "exports" / f"random-{name}-{_key(name, seed)}.onnx"
    if not path.exists():
        import onnx

        from zoo.models.export import to_onnx

        preprocess = get_structure(name).preprocess
        model = to_onnx(build(name, seed), (preprocess.channels, *preprocess.size))
        with atomic_path(path) as temporary:
            onnx.save(model, temporary)
    return path


def halved(name: str, seed: int = 0) -> Path:
    """Returns a structure's ONNX graph in fp16, making it if it is not in the cache.

    Raises:
        UnknownNameError: No such structure.
        DependencyError: A package that makes it is not installed and it is not in the cache.
        RuntimeUnavailableError: The structure cannot be converted.
    """
    path = zoo_home() / "exports" / f"random-{name}-fp16-{_key(name, seed, *_ONNX_RUNTIME)}.onnx"
    if not path.exists():
        import onnx

        from zoo.models.onnx_graph import read_onnx
        from zoo.runtimes.quantise import half

        made = half(read_onnx(exported(name, seed)))
        with atomic_path(path) as temporary:
            onnx.save(made, temporary)
    return path


def quantised(name: str, runtime: str, seed: int = 0) -> tuple[Path, ...]:
    """Returns a structure's int8 graph, making it if it is not in the cache: NNCF for OpenVINO, else static QDQ.

    Returns:
        One ONNX file, or an IR's ``.xml`` and ``.bin``; they take crops as :attr:`Structure.preprocess_int8` says.

    Raises:
        UnknownNameError: No such structure.
        DependencyError: A package that makes it is not installed and it is not in the cache.
        RuntimeUnavailableError: The structure cannot be quantised.
    """
    folder = zoo_home() / "exports"
    if runtime == "openvino":
        stem = f"random-{name}-int8-{_key(name, seed, 'nncf', 'openvino')}"
        graph, weights = folder / f"{stem}.xml", folder / f"{stem}.bin"
        if not (graph.exists() and weights.exists()):
            _nncf(name, seed, graph, weights)
        return graph, weights
    path = folder / f"random-{name}-int8-{_key(name, seed, *_ONNX_RUNTIME)}.onnx"
    if not path.exists():
        import onnx

        from zoo.models.onnx_graph import read_onnx
        from zoo.runtimes.graphs import with_pixels
        from zoo.runtimes.quantise import static_qdq

        preprocess = get_structure(name).preprocess
        made = static_qdq(with_pixels(read_onnx(exported(name, seed)), preprocess), _pictures(preprocess, 1))
        with atomic_path(path) as temporary:
            onnx.save(made, temporary)
    return (path,)


def _pictures(preprocess: Preprocess, seed: int) -> NDArray[np.uint8]:
    from zoo.latency.parity import golden_crops

    return golden_crops((*preprocess.size, preprocess.channels), CALIBRATION, seed=seed)


def _faces_and_noise(preprocess: Preprocess, seed: int) -> NDArray[np.uint8]:
    faces = _pictures(preprocess, seed)
    noise = np.random.default_rng(seed).integers(0, 256, (CALIBRATION // 4, *faces.shape[1:]), np.uint8)
    return np.concatenate([faces[len(noise) :], noise])


def _nncf(name: str, seed: int, graph: Path, weights: Path) -> None:
    import tempfile

    import openvino as ov

    from zoo.models.onnx_graph import read_onnx
    from zoo.runtimes.openvino_ import pixel_model
    from zoo.runtimes.quantise import nncf_int8

    preprocess = get_structure(name).preprocess
    model, names, _ = pixel_model(ov.Core(), read_onnx(exported(name, seed)), preprocess, None)
    made = nncf_int8(model, _pictures(preprocess, 1))
    for port, output in zip(made.outputs, names, strict=True):
        port.get_tensor().set_names({output})
    with tempfile.TemporaryDirectory() as folder:
        ov.save_model(made, str(Path(folder) / "graph.xml"), compress_to_fp16=False)
        for source, target in (("graph.bin", weights), ("graph.xml", graph)):  # the graph last: it names the file whole
            with atomic_path(target) as temporary:
                shutil.copyfile(Path(folder) / source, temporary)
