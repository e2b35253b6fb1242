"""Peak memory of ``zoo.eval`` and ``zoo.predict`` on 1,000, 10,000 and 100,000 pictures: ``memory.py [run | check]``.

Each case is a process of its own, so that its peak is its own. The pictures are 64-px JPEGs, ten files under as many
names as are needed (hard links), or the frames of one video; the model averages them, so that a run takes minutes.
Pictures in flight do not depend on their number; the list of files does, and the dataset's index and scores.

``run`` measures, writes ``benchmarks/results/memory.json`` and the table of ``docs/throughput.md``; without a word the
table is drawn again from the record; ``check`` says whether it is what the record says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tabulate import tabulate

from benchmarks.pages import RESULTS, ROOT, Drawn

COUNTS = (1_000, 10_000, 100_000)
CASES = {
    "eval": "`zoo.eval`, a file each",
    "predict": "`zoo.predict`, a file each",
    "video": "`zoo.predict`, frames of one video",
}
CLASSES = ("anger", "happiness", "neutral")


def write_pictures(folder: Path, count: int) -> None:
    """Writes ten pictures and links them to ``count`` names, a third of them in the folder of each class."""
    rng = np.random.default_rng(0)
    seeds = folder.parent / "seeds"
    seeds.mkdir(exist_ok=True)
    for i in range(10):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(seeds / f"{i}.jpg", quality=80)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for i in range(count):
        os.link(seeds / f"{i % 10}.jpg", folder / CLASSES[i % 3] / f"{i:06d}.jpg")


def write_video(path: Path, count: int) -> None:
    """Writes a video of ``count`` frames: the ten pictures again and again."""
    import av

    rng = np.random.default_rng(0)
    frames = [
        av.VideoFrame.from_ndarray(rng.integers(0, 256, (64, 64, 3), np.uint8), format="rgb24") for _ in range(10)
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for i in range(count):
            frame = frames[i % 10]
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_model(folder: Path) -> Path:
    """Writes a network that averages a picture, and a registry with it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from benchmarks.throughput import write_registry
    from zoo.registry.schema import Preprocess

    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["label"]),
    ]
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32), "weights")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 64, 64])
    label = helper.make_tensor_value_info("label", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "mean", [image], [label], [weights])
    path = folder / "fp32.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    outputs = [{"task": "expression", "labels": list(CLASSES), "activation": "softmax"}]
    return write_registry(folder, "mean", [path], Preprocess(size=(64, 64)), outputs)


def measure(verb: str, registry: str, root: str) -> dict[str, Any]:
    """Runs one case in this process."""
    from benchmarks.resident import AnonymousPeak, mib
    from zoo.registry import load_registry
    from zoo.runs import Settings

    watch = AnonymousPeak()
    loaded = load_registry([registry])
    entry, settings = loaded.get("mean"), Settings(runtime="onnxruntime", threads=2, fresh=True)
    started = time.perf_counter()
    if verb == "eval":
        from zoo.datasets import load_index
        from zoo.protocols import load_protocol
        from zoo.runs import evaluate_entry

        evaluate_entry(entry, load_index("folder", root), load_protocol("folder-expression"), settings, registry=loaded)
    else:
        from zoo.runs.predict import Predictor, find_images

        predictor = Predictor(entry, loaded, settings)
        found = sum(len(p.results) for p in predictor.files(find_images([root], videos=True), keep_images=False))
        predictor.close()
        assert found in COUNTS, f"{found} predictions"
    seconds = round(time.perf_counter() - started, 1)
    return {"seconds": seconds, "peak_mib": mib("VmHWM"), "anonymous_mib": watch.mib}


def run() -> dict[str, Any]:
    """Runs all cases; returns the record."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        registry = write_model(place)
        for count in COUNTS:
            root = place / str(count)
            write_pictures(root, count)
            write_video(place / f"{count}.mp4", count)
            for verb in CASES:
                given = place / f"{count}.mp4" if verb == "video" else root
                done = subprocess.run(
                    [sys.executable, __file__, "measure", verb, str(registry), str(given)], cwd=ROOT, check=True,
                    capture_output=True, text=True,
                    env={**os.environ, "ZOO_HOME": str(place / "home"), "PYTHONPATH": str(ROOT)},
                )  # fmt: skip
                rows.append({"verb": verb, "pictures": count, **json.loads(done.stdout.splitlines()[-1])})
                print(rows[-1], file=sys.stderr)
    return {"rows": rows}


def table(record: dict[str, Any]) -> str:
    """Returns the table."""
    peaks = {(r["verb"], r["pictures"]): (r["anonymous_mib"], r["peak_mib"]) for r in record["rows"]}
    rows = [
        [title, *("{:.0f} of {:.0f} MiB".format(*peaks[verb, count]) for count in COUNTS)]
        for verb, title in CASES.items()
    ]
    head = ["peak, anonymous of resident", *(f"{count:,} pictures" for count in COUNTS)]
    return str(tabulate(rows, head, tablefmt="github", disable_numparse=True))


PAGE = Drawn(ROOT / "docs" / "throughput.md", RESULTS / "memory.json", lambda record: {"memory": table(record)})

if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        PAGE.main(sys.argv[1:], run)
