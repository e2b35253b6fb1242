"""How fast the whole way from files to stored predictions is, side by side with bare code that does nothing else.

``python benchmarks/throughput.py run`` measures for about eight minutes, writes ``benchmarks/results/throughput.json``
and the tables of ``docs/throughput.md``; ``tables`` draws them again from the record, ``check`` says whether they are
what it says. ``images`` and ``photographs`` print one of them. ``benchmarks/test_throughput.py`` runs the same under
pytest-benchmark. Weights are seeded: a network's time is that of any weights in it. Contestants take turns, so that
what else the machine does meets all of them; shares of others and of the hypervisor are shown.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skimage.data
import yaml
from PIL import Image

from benchmarks.pages import RESULTS, ROOT, Drawn
from zoo._util.cpu import usable_cores
from zoo._util.files import sha256_of
from zoo.latency.counters import between, read_counters
from zoo.registry.schema import Preprocess

RUN = {"images": (2000, 3), "loop": (400, 2), "photographs": (200, 4)}
"""Pictures and turns of a run of eight minutes; the DataLoader loop sees the first of the same pictures."""

BESIDE_BARE = 0.95
"""Goal: images a second of ``zoo.eval`` over those of the best bare pipeline."""
BESIDE_LOOP = {"fp32": 2.0, "int8": 6.0}
"""Goals: over those of the DataLoader loop."""
FRAMES = {"fp32": 60.0, "int8": 120.0}
"""Goals: photographs a second through the whole pipeline."""

CLASSES = ("anger", "happiness", "neutral")
SIDE = 256
PREPROCESS = Preprocess(size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BARE_BATCH = 16  # the best of 1, 4, 8, 16 and 32 for every runtime and precision here
LOOP = "DataLoader, torch fp32"
CASES = (("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"), ("onnxruntime", "fp32"))


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Writes parts of a portrait with noise as 256-px JPEGs, one folder a class, and returns their paths."""
    rng = np.random.default_rng(0)
    portrait = Image.fromarray(skimage.data.astronaut())
    for i in range(count):
        side = int(rng.integers(180, 400))
        x, y = rng.integers(0, 512 - side, 2).tolist()
        part = portrait.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        noisy = np.asarray(part).astype(np.int16) + rng.integers(-12, 13, (SIDE, SIDE, 3))
        path = folder / CLASSES[i % len(CLASSES)] / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return sorted(folder.rglob("*.jpg"))


def resnet18() -> Any:
    """Returns timm's ResNet-18 with seeded weights."""
    import torch

    from zoo.models._timm import import_timm

    torch.manual_seed(0)
    return import_timm().create_model("resnet18", pretrained=False, num_classes=len(CLASSES)).eval()


def quantise(fp32: Path, int8: Path, crops: Sequence[np.ndarray]) -> None:
    """Writes the static int8 graph of a graph, calibrated on normalised crops ``[height, width, 3]``."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    [entrance] = onnx.load(fp32).graph.input

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        left = iter(crops)

        def get_next(self) -> dict[str, np.ndarray] | None:
            crop = next(self.left, None)
            return None if crop is None else {entrance.name: crop.transpose(2, 0, 1)[None]}

    prepared = fp32.with_name("prepared.onnx")
    quant_pre_process(str(fp32), str(prepared))
    quantize_static(
        str(prepared), str(int8), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip


def write_registry(
    folder: Path, name: str, files: Sequence[Path], preprocess: Preprocess, outputs: list[dict[str, Any]]
) -> Path:
    """Writes a registry file with one entry, whose files are named by their precision."""
    entry = {
        "name": name, "title": name, "family": "onnx", "architecture": name, "status": "unverified",
        "tasks": [o["task"] for o in outputs], "licence": {"name": "Apache-2.0", "commercial_use": True},
        "weights": [
            {"name": p.name, "format": "onnx", "precision": p.stem, "sources": [f"path:{p}"], "sha256": sha256_of(p)}
            for p in files
        ],
        "preprocess": preprocess.model_dump(mode="json"), "outputs": outputs,
    }  # fmt: skip
    registry = folder / "registry.yaml"
    registry.write_text(yaml.safe_dump({"schema_version": 1, "models": [entry]}))
    return registry


def write_models(folder: Path, pictures: Sequence[Path]) -> Path:
    """Exports ResNet-18 from torch, quantises it on 50 of the pictures, and returns a registry file with both."""
    import torch

    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    torch.onnx.export(
        resnet18(), (torch.zeros(2, 3, *PREPROCESS.size),), str(fp32), dynamo=True, opset_version=20, verbose=False,
        input_names=["image"], output_names=["label"], dynamic_shapes=[{0: torch.export.Dim("n")}], external_data=False,
    )  # fmt: skip
    quantise(fp32, int8, [normalised(p) for p in pictures[:: max(1, len(pictures) // 50)]])
    outputs = [{"task": "expression", "labels": list(CLASSES), "activation": "softmax"}]
    return write_registry(folder, "resnet18", (fp32, int8), PREPROCESS, outputs)


def resized(path: Path) -> np.ndarray:
    """Decodes and resizes as the contract says."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize(PREPROCESS.size, Image.Resampling.BILINEAR)
    return np.asarray(small)


def normalised(path: Path) -> np.ndarray:
    """Does what :func:`resized` does and normalises."""
    mean, std = (np.array(v, np.float32) for v in (PREPROCESS.mean, PREPROCESS.std))
    return (resized(path) * np.float32(PREPROCESS.scale) - mean) / std


def ahead(paths: Sequence[Path], pool: ThreadPoolExecutor, size: int) -> Iterator[np.ndarray]:
    """Decodes batches in a pool's threads, a few ahead of the consumer."""

    def decode(part: Sequence[Path]) -> np.ndarray:
        batch = np.empty((len(part), *PREPROCESS.size, 3), np.uint8)
        for i, path in enumerate(part):
            batch[i] = resized(path)
        return batch

    left = (paths[i : i + size] for i in range(0, len(paths), size))
    waiting = deque(pool.submit(decode, part) for part in islice(left, 2 * usable_cores()))
    while waiting:
        batch = waiting.popleft().result()
        waiting.extend(pool.submit(decode, part) for part in islice(left, 1))
        yield batch


@dataclass
class Pass:
    """One pass over all pictures.

    Attributes:
        seconds: From the first file opened to the last prediction (stored, for the zoo).
        whole: With opening the model, and for the zoo also with scoring: 10,000 bootstrap resamples.
        cpu: Processor seconds of this process within ``seconds``.
        stolen: Share of the time wanted that the hypervisor took.
        foreign: Share of the cores that others used.
    """

    seconds: float
    whole: float
    cpu: float
    stolen: float | None = None
    foreign: float | None = None


class Clock:
    """Times the streaming part of a pass."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Adds what the block takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def bare_openvino(file: Path, precision: str, paths: Sequence[Path], clock: Clock) -> np.ndarray:
    """The best bare pipeline of OpenVINO: its own queue of asynchronous requests, one stream a core."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    core, cores = ov.Core(), usable_cores()
    steps = PrePostProcessor(core.read_model(file))
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    chain = steps.input().preprocess().convert_element_type(ov.Type.f32)
    chain.mean([m / PREPROCESS.scale for m in PREPROCESS.mean]).scale([s / PREPROCESS.scale for s in PREPROCESS.std])
    compiled = core.compile_model(steps.build(), "CPU", {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "NUM_STREAMS": cores,
        "INFERENCE_NUM_THREADS": cores, "ENABLE_CPU_PINNING": False,
    })  # fmt: skip
    found = np.empty((len(paths), len(CLASSES)), np.float32)
    queue = ov.AsyncInferQueue(compiled, cores + 1)

    def keep(request: ov.InferRequest, state: tuple[int, np.ndarray]) -> None:
        found[state[0] : state[0] + len(state[1])] = request.output_tensors[0].data

    queue.set_callback(keep)
    with clock.running(), ThreadPoolExecutor(cores) as pool:
        start = 0
        for batch in ahead(paths, pool, BARE_BATCH):
            queue.start_async([ov.Tensor(batch, shared_memory=True)], (start, batch))
            start += len(batch)
        queue.wait_all()
    return found


def bare_onnxruntime(file: Path, precision: str, paths: Sequence[Path], clock: Clock) -> np.ndarray:
    """The best bare pipeline of ONNX Runtime: one session of one thread, called from as many threads as cores."""
    import onnxruntime as ort

    from zoo.runtimes.graphs import PIXELS, with_pixels

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    blob = with_pixels(onnx.load(file), PREPROCESS).SerializeToString()
    session = ort.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    cores, found = usable_cores(), []
    with clock.running(), ThreadPoolExecutor(cores) as pool, ThreadPoolExecutor(cores) as runs:
        waiting: deque[Any] = deque()
        for batch in ahead(paths, pool, BARE_BATCH):
            waiting.append(runs.submit(session.run, None, {PIXELS: batch}))
            if len(waiting) > cores:
                found.append(waiting.popleft().result()[0])
        found += [w.result()[0] for w in waiting]
    return np.concatenate(found)


def timm_loop(paths: Sequence[Path], clock: Clock) -> np.ndarray:
    """What timm's ``validate.py`` does on a processor: a DataLoader with two workers, float pictures, torch eager."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Files(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, i: int) -> torch.Tensor:
            return torch.from_numpy(normalised(paths[i]).transpose(2, 0, 1))

    model = resnet18()
    torch.set_num_threads(usable_cores())
    with clock.running(), torch.inference_mode():
        found = [model(x) for x in DataLoader(Files(), batch_size=256, num_workers=2)]
    return torch.cat(found).numpy()


def zoo_eval(registry: Path, root: Path, runtime: str, precision: str, clock: Clock, **settings: Any) -> Any:
    """What ``zoo.eval`` runs: predictions stored unit by unit, scores with intervals."""
    from zoo.datasets import load_index
    from zoo.protocols import load_protocol
    from zoo.registry import load_registry
    from zoo.runs import Settings, evaluate_entry, execute

    loaded = load_registry([str(registry)])
    plain = execute.run_units

    def timed(*words: Any, **keys: Any) -> None:
        with clock.running():
            plain(*words, **keys)

    execute.run_units = timed
    try:
        return evaluate_entry(
            loaded.get("resnet18"), load_index("folder", str(root)), load_protocol("folder-expression"),
            Settings(runtime=runtime, precision=precision, fresh=True, **settings), registry=loaded,
        )  # fmt: skip
    finally:
        execute.run_units = plain


@dataclass
class Contest:
    """Passes of several contestants in turns."""

    pictures: int
    passes: dict[str, list[Pass]] = field(default_factory=dict)

    def run(self, name: str, work: Callable[[Clock], Any]) -> Any:
        """Runs one pass."""
        clock, before = Clock(), read_counters()
        found = work(clock)
        disturbed = between(before, after := read_counters())
        one = Pass(clock.seconds, after.at - before.at, clock.cpu, disturbed.stolen, disturbed.foreign)
        self.passes.setdefault(name, []).append(one)
        return found

    def rate(self, name: str) -> float:
        """Pictures a second, median of the passes."""
        return statistics.median(self.pictures / p.seconds for p in self.passes[name])

    def ratio(self, name: str, other: str, field: str = "seconds") -> float:
        """How many times faster than another, median over the turns."""
        pairs = zip(self.passes[name], self.passes[other], strict=True)
        return statistics.median(getattr(b, field) / getattr(a, field) for a, b in pairs)


def compare_images(place: Path, count: int, rounds: int, cases: Sequence[tuple[str, str]] = CASES) -> Contest:
    """Runs ``zoo.eval``, the bare pipelines and the DataLoader loop in turns."""
    os.environ["ZOO_HOME"] = str(place / "home")
    paths = write_pictures(place / "pictures", count)
    registry = write_models(place, paths)
    contest = Contest(count)
    for turn in range(rounds):
        for case in cases:
            one_turn(contest, place, registry, paths, case, zoo_first=bool(turn % 2))
        contest.run(LOOP, lambda c: timm_loop(paths, c))
    return contest


def one_turn(
    contest: Contest, place: Path, registry: Path, paths: Sequence[Path], case: tuple[str, str], *, zoo_first: bool
) -> None:
    """Runs the bare pipeline and ``zoo.eval`` of one runtime and precision."""
    runtime, precision = case
    bare = {"openvino": bare_openvino, "onnxruntime": bare_onnxruntime}[runtime]
    file = place / ("int8.onnx" if precision == "int8" else "fp32.onnx")
    both: dict[str, Callable[[Clock], Any]] = {
        f"bare {runtime} {precision}": lambda c: bare(file, precision, paths, c),
        f"zoo.eval {runtime} {precision}": lambda c: zoo_eval(registry, place / "pictures", runtime, precision, c),
    }
    for name in sorted(both, reverse=zoo_first):
        contest.run(name, both[name])


def table(contest: Contest, cases: Sequence[tuple[str, str]] = CASES) -> list[list[str]]:
    """Returns the rows of the table."""
    rows = [["pipeline", "images/s", "of the bare one", "of it, whole run", "of it, processor time",
             "of the DataLoader", "others", "stolen"]]  # fmt: skip
    for runtime, precision in cases:
        bare, ours = f"bare {runtime} {precision}", f"zoo.eval {runtime} {precision}"
        for name in (bare, ours):
            ratios = [f"{contest.ratio(name, bare, f):.2f}" for f in ("seconds", "whole", "cpu")]
            rows.append([name, f"{contest.rate(name):.0f}", *(ratios if name == ours else ["", "", ""]),
                         f"{contest.ratio(name, LOOP):.1f}", *_disturbance(contest, name)])  # fmt: skip
    rows.append([LOOP, f"{contest.rate(LOOP):.0f}", "", "", "", "", *_disturbance(contest, LOOP)])
    return rows


def _disturbance(contest: Contest, name: str) -> list[str]:
    return [
        f"{100 * statistics.median(getattr(p, f) or 0.0 for p in contest.passes[name]):.0f} %"
        for f in ("foreign", "stolen")
    ]


def write_photographs(folder: Path, count: int) -> list[Path]:
    """Writes 1024x768 JPEGs of a portrait, the face 140 to 230 px wide and near the middle."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    around = 256
    wide = Image.fromarray(np.pad(skimage.data.astronaut(), ((around, around), (around, around), (0, 0)), "reflect"))
    for i in range(count):
        zoom = rng.uniform(1.5, 2.4)
        half = np.array([1024, 768]) / zoom / 2
        centre = np.array([225, 130]) + around + rng.uniform((-30, -10), (30, 25))
        photo = wide.resize((1024, 768), Image.Resampling.BICUBIC, box=(*(centre - half), *(centre + half)))
        noisy = np.asarray(photo) + rng.normal(0, 5, (768, 1024, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i:06d}.jpg", quality=90)
    return sorted(folder.iterdir())


def write_libreface(folder: Path, photographs: Sequence[Path]) -> Path:
    """Writes the structure and the contract of ``libreface-r18`` with seeded weights, in fp32 and int8."""
    from zoo.faces.decode import read_image
    from zoo.faces.pipeline import build_pipeline
    from zoo.latency.structures import exported
    from zoo.registry import load_registry

    published = load_registry().get("libreface-r18")
    preprocess = published.preprocess
    assert preprocess is not None
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    fp32.write_bytes(exported("libreface-resnet18").read_bytes())
    pipeline = build_pipeline(preprocess)
    crops = [pipeline.crop(read_image(p)) for p in photographs[:: max(1, len(photographs) // 50)]]
    mean, std = (np.array(v, np.float32) for v in (preprocess.mean, preprocess.std))
    quantise(fp32, int8, [(c * np.float32(preprocess.scale) - mean) / std for c in crops if c is not None])
    tasks = ("au-intensity", "au-occurrence")
    outputs = [{**published.output(task).model_dump(mode="json"), "role": "model"} for task in tasks]
    return write_registry(folder, "libreface-structure", (fp32, int8), preprocess, outputs)


def predict_photographs(predictor: Any, paths: Sequence[Path], clock: Clock) -> list[Any]:
    """What ``zoo.predict draw=false`` runs."""
    with clock.running():
        return list(predictor.files(paths, only_chosen=True, keep_images=False))


def stages(registry: Path, paths: Sequence[Path], cases: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Returns processor milliseconds a photograph for each stage, one after the other on an otherwise idle process."""
    from zoo.faces.decode import read_image
    from zoo.faces.detect import BlazeFace
    from zoo.faces.landmarks import region_of_detection
    from zoo.faces.pipeline import build_pipeline
    from zoo.registry import load_registry
    from zoo.runs import Settings
    from zoo.runs.predict import Predictor

    loaded = load_registry([str(registry)])
    entry = loaded.get("libreface-structure")
    detector, pipeline = BlazeFace("mediapipe-short-range"), build_pipeline(entry.preprocess)
    mesher = pipeline._mesh
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        found = work()
        spent[name] = spent.get(name, 0.0) + time.process_time() - started
        return found

    crops = []
    for turn in range(2):  # the first warms up
        spent.clear()
        for path in paths:
            image = timed("decode", lambda p=path: read_image(p))
            found = timed("detect", lambda i=image: detector(i))
            region = region_of_detection(found.boxes[0], found.keypoints[0])
            mesh, _ = timed("mesh", lambda i=image, r=region: mesher(i, r))
            crop = timed("align", lambda i=image, b=found.boxes[0], m=mesh: pipeline._crop(i, b, m))
            if turn:
                crops.append(crop)
    batches = [np.stack(crops[i : i + 4]) for i in range(0, len(crops), 4)]
    for runtime, precision in cases:
        predictor = Predictor(entry, loaded, Settings(runtime=runtime, precision=precision))
        list(predictor._session.stream(enumerate(batches[:4])))
        timed(f"AUs, {runtime} {precision}", lambda p=predictor: list(p._session.stream(enumerate(batches))))
        predictor.close()
    return {name: 1000 * seconds / len(paths) for name, seconds in spent.items()}


def compare_photographs(place: Path, count: int, rounds: int, cases: Sequence[tuple[str, str]] = CASES) -> list[Any]:
    """Runs the whole pipeline in turns with every precision; returns the contest and the stages."""
    from zoo.registry import load_registry
    from zoo.runs import Settings
    from zoo.runs.predict import Predictor

    paths = write_photographs(place / "photographs", count)
    registry = write_libreface(place, paths)
    loaded = load_registry([str(registry)])
    contest = Contest(count)
    for turn in range(rounds):
        for runtime, precision in cases if turn % 2 == 0 else cases[::-1]:
            predictor = Predictor(
                loaded.get("libreface-structure"), loaded, Settings(runtime=runtime, precision=precision)
            )
            found = contest.run(f"{runtime} {precision}", lambda c, p=predictor: predict_photographs(p, paths, c))
            predictor.close()
            assert sum(len(f.results) for f in found) >= 0.95 * count, "the faces were not found"
    return [contest, stages(registry, paths[:100], cases)]


def photographs_table(contest: Contest, parts: dict[str, float], cases: Sequence[tuple[str, str]] = CASES) -> Any:
    """Returns the rows of the table: frames a second, and the share of each stage."""
    shared = [name for name in parts if not name.startswith("AUs")]
    rows = [["decode, detect, mesh, align, AUs", "frames/s", *(f"{n}, ms" for n in shared), "AUs, ms", "others",
             "stolen"]]  # fmt: skip
    for runtime, precision in cases:
        name = f"{runtime} {precision}"
        used = [parts[n] for n in shared] + [parts[f"AUs, {name}"]]
        cells = [f"{u:.1f} ({100 * u / sum(used):.0f} %)" for u in used]
        rows.append([name, f"{contest.rate(name):.0f}", *cells, *_disturbance(contest, name)])
    return rows


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the median of a few rounds with its 95 % bootstrap interval: all resamples where they are few.

    With three or four rounds it spans nearly all of them, and says so.
    """
    v = np.array(values, float)
    if len(v) <= 5:
        picks = np.array(list(product(range(len(v)), repeat=len(v))))
    else:
        picks = np.random.default_rng(0).integers(0, len(v), (10_000, len(v)))
    medians = np.median(v[picks], axis=1)
    low, high = np.percentile(medians, [2.5, 97.5], method="inverted_cdf")
    return float(np.median(v)), float(low), float(high)


def measure() -> dict[str, Any]:
    """Runs both contests; returns the record."""
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["ZOO_HOME"] = str(place / "home")
        count, rounds = RUN["images"]
        paths = write_pictures(place / "pictures", count)
        registry = write_models(place, paths)
        images, loop = Contest(count), Contest(RUN["loop"][0])
        for turn in range(rounds):
            for case in CASES:
                one_turn(images, place, registry, paths, case, zoo_first=bool(turn % 2))
            if turn < RUN["loop"][1]:
                loop.run(LOOP, lambda c: timm_loop(paths[: loop.pictures], c))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZOO_HOME"] = str(Path(folder) / "home")
        photographs, parts = compare_photographs(Path(folder), *RUN["photographs"])
    return {
        "cpu": _cpu(), "cores": usable_cores(),
        "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(),
        "versions": {n: version(n) for n in ("openvino", "onnxruntime", "torch", "pillow", "numpy")},
        "load": [round(before[0], 2), round(os.getloadavg()[0], 2)],
        "images": _stored(images), "loop": _stored(loop), "photographs": _stored(photographs),
        "stages": {name: round(ms, 3) for name, ms in parts.items()},
    }  # fmt: skip


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _stored(contest: Contest) -> dict[str, Any]:
    return {
        "pictures": contest.pictures,
        "passes": {
            name: [{k: v if v is None else round(v, 4) for k, v in asdict(p).items()} for p in passes]
            for name, passes in contest.passes.items()
        },
    }


def _kept(stored: dict[str, Any]) -> Contest:
    passes = {name: [Pass(**p) for p in found] for name, found in stored["passes"].items()}
    return Contest(stored["pictures"], passes)


def _spread(values: Sequence[float], form: str) -> str:
    middle, low, high = (format(v, form) for v in interval(values))
    return f"{middle} [{low}, {high}]"


def _rates(contest: Contest, name: str) -> list[float]:
    return [contest.pictures / p.seconds for p in contest.passes[name]]


def _counted(contest: Contest) -> str:
    name, passes = next(iter(contest.passes.items()))
    return f"{contest.pictures} pictures, {len(passes)} rounds ({name} and its like)"


def tables(record: dict[str, Any]) -> dict[str, str]:
    """Returns the page's tables by their names."""
    from tabulate import tabulate

    images, loop, photographs = (_kept(record[k]) for k in ("images", "loop", "photographs"))
    beside = statistics.median(_rates(loop, LOOP))
    rows = []
    for runtime, precision in CASES:
        bare, ours = (f"{who} {runtime} {precision}" for who in ("bare", "zoo.eval"))
        pairs = list(zip(images.passes[ours], images.passes[bare], strict=True))
        goal = BESIDE_LOOP.get(precision)
        rows.append([
            f"{runtime} {precision}", _spread(_rates(images, ours), ".0f"), _spread(_rates(images, bare), ".0f"),
            _spread([b.seconds / a.seconds for a, b in pairs], ".2f"), f"{BESIDE_BARE:.2f}",
            f"{statistics.median(b.cpu / a.cpu for a, b in pairs):.2f}",
            _spread([rate / beside for rate in _rates(images, ours)], ".1f"), f"{goal:.0f}" if goal else "",
            *_disturbance(images, ours),
        ])  # fmt: skip
    rows.append([LOOP, "", _spread(_rates(loop, LOOP), ".0f"), *[""] * 5, *_disturbance(loop, LOOP)])
    head = ["", "`zoo.eval`, images/s", "bare, images/s", "ratio", "goal", "of processor time", "times the DataLoader",
            "goal", "others", "stolen"]  # fmt: skip
    shared = [n for n in record["stages"] if not n.startswith("AUs")]
    frames = []
    for runtime, precision in CASES:
        name = f"{runtime} {precision}"
        used = [record["stages"][n] for n in (*shared, f"AUs, {name}")]
        goal = FRAMES.get(precision)
        frames.append([
            name, _spread(_rates(photographs, name), ".0f"), f"{goal:.0f}" if goal else "",
            *(f"{u:.1f} ({100 * u / sum(used):.0f} %)" for u in used), *_disturbance(photographs, name),
        ])  # fmt: skip
    about = [
        ["measured", record["created"]], ["machine", f"{record['cpu']}, {record['cores']} cores, {record['system']}"],
        ["versions", ", ".join(f"{n} {v}" for n, v in (("Python", record["python"]), *record["versions"].items()))],
        ["load before and after", ", ".join(map(str, record["load"]))],
        ["rounds", ", ".join(_counted(c) for c in (images, loop, photographs))],
    ]  # fmt: skip
    names = [f"{n}, ms" for n in (*shared, "AUs")]

    def draw(rows: list[list[str]], head: list[str]) -> str:
        return str(tabulate(rows, head, tablefmt="github", disable_numparse=True))

    return {
        "images": draw(rows, head),
        "photographs": draw(frames, ["", "photographs/s", "goal", *names, "others", "stolen"]),
        "about": draw(about, ["", ""]),
    }


PAGE = Drawn(
    ROOT / "docs" / "throughput.md", RESULTS / "throughput.json",
    lambda record: {f"throughput-{name}": table for name, table in tables(record).items()},
)  # fmt: skip


def main() -> None:
    """See the module; ``images|photographs [count] [rounds]`` prints a table."""
    from tabulate import tabulate

    what, *numbers = sys.argv[1:] or ["images"]
    if what in ("run", "tables", "check"):
        PAGE.main([] if what == "tables" else [what], measure)
        return
    if what not in ("images", "photographs"):
        raise SystemExit("usage: python benchmarks/throughput.py run|tables|check|images|photographs [count] [rounds]")
    count, rounds = (int(n) for n in (*numbers, *("2000" if what == "images" else "500", "3")[len(numbers) :]))
    with tempfile.TemporaryDirectory() as folder:
        if what == "images":
            rows = table(compare_images(Path(folder), count, rounds))
        else:
            rows = photographs_table(*compare_photographs(Path(folder), count, rounds))
    print(tabulate(rows, headers="firstrow", tablefmt="github"))


if __name__ == "__main__":
    main()
