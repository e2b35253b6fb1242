"""How near the face pipeline is to what others run: MediaPipe 0.10.21 and LibreFace's own aligner.

1. ``faces.py pictures SOURCE FOLDER`` writes the pictures and every eighth frame of the videos of a folder, and
   rendered faces, as PNG files, so that both sides see the same pixels.
2. ``faces_reference.py FOLDER ALIGNER``, in an environment with mediapipe 0.10.21, adds what MediaPipe and LibreFace
   say.
3. ``faces.py measure FOLDER`` compares, writes ``benchmarks/results/faces.json`` (numbers of all faces together, no
   picture and no landmark) and the tables of ``docs/faces.md``.

``faces.py tables`` draws the tables again from the record; ``faces.py check`` says whether they are what it says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tabulate import tabulate

from benchmarks.pages import RESULTS, ROOT, Drawn

EVERY = 8
PEOPLE, EACH, SIZE = 8, 8, (640, 480)
DETECTORS = ("mediapipe-short-range", "mediapipe-full-range")
MESHES = ("mesh-468", "mesh-478")
FAR = 0.5
"""Two detections are of one face when their centres are nearer than this part of the box's side."""

Array = NDArray[np.float64]


def write_pictures(source: Path, folder: Path) -> None:
    """Writes what both sides look at."""
    from zoo.faces.decode import VideoReader, read_image
    from zoo.latency.pipeline import render_pictures
    from zoo.runs.predict import find_images, is_video

    people, rendered = folder / "people", folder / "rendered"
    people.mkdir(parents=True)
    rendered.mkdir()
    for path in find_images([source], videos=True):
        if is_video(path):
            with VideoReader(path) as reader:
                for frame in reader.read_all():
                    if frame.pixels is not None and frame.position % EVERY == 0:
                        Image.fromarray(frame.pixels).save(people / f"{path.stem}-{frame.position:04d}.png")
        else:
            Image.fromarray(read_image(path)).save(people / f"{path.stem}.png")
    render_pictures(folder / "jpeg", people=PEOPLE, each=EACH, size=SIZE)
    for path in sorted((folder / "jpeg").glob("*.jpg")):
        Image.fromarray(read_image(path)).save(rendered / f"{path.stem}.png")


def pairs(ours: Sequence[Array], theirs: Sequence[Array], side: Callable[[Array], float]) -> list[tuple[int, int]]:
    """Returns which of our faces is which of theirs: the nearest centre, each once."""
    free, found = set(range(len(ours))), []
    for j, reference in enumerate(theirs):
        near = sorted((float(np.linalg.norm(ours[i].mean(0) - reference.mean(0))), i) for i in free)
        if near and near[0][0] < FAR * side(reference):
            found.append((near[0][1], j))
            free.remove(near[0][1])
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns mean, median, 95th percentile and greatest value."""
    v = np.array(values)
    return {"mean": float(v.mean()), "median": float(np.median(v)), "p95": float(np.percentile(v, 95)),
            "max": float(v.max())}  # fmt: skip


def eyes(mesh: Array) -> float:
    """Returns the distance between the outer eye corners."""
    return float(np.linalg.norm(mesh[33, :2] - mesh[263, :2]))


def box_side(corners: Array) -> float:
    """Returns the longer side of a box ``[2, 2]``."""
    return float(np.max(corners[1] - corners[0]))


def quad_moved(ours: Array, theirs: Array) -> Array:
    """Returns how far each corner of LibreFace's quad lies from theirs, over the quad's side."""
    moved: Array = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs[3] - theirs[0])
    return moved


class Outputs:
    """What networks say of the crops that different meshes give.

    hog-ridge with its own contract. fer-mini-xception, whose own crop needs no mesh, on LibreFace's crop, in grey at
    its 64 pixels. LibreFace's structure on LibreFace's crop, with seeded weights whose statistics were set on rendered
    faces: that one says how the numbers move, not how good they are.
    """

    def __init__(self) -> None:
        import onnxruntime

        from zoo.faces.pipeline import FacePipeline
        from zoo.latency.structures import exported
        from zoo.registry import load_registry
        from zoo.registry.schema import LibreFaceQuad
        from zoo.runs import Settings
        from zoo.runs.predict import Predictor

        registry = load_registry()
        baseline, fer = registry.get("hog-ridge"), registry.get("fer-mini-xception-tflite")
        assert fer.preprocess is not None
        quad = {"landmarks": "mesh-478", "align": LibreFaceQuad(output=64), "interpolation": "pillow-bilinear"}
        fer = fer.model_copy(update={"preprocess": fer.preprocess.model_copy(update=quad)})
        folds = sorted(w.fold.name for w in baseline.weights if w.fold)
        self._predictors = {
            "hog-ridge": Predictor(baseline, registry, Settings(runtime="onnxruntime"), fold=folds[0]),
            "fer-mini-xception, LibreFace's crop": Predictor(fer, registry, Settings(runtime="openvino", threads=1)),
        }
        self._libreface = registry.get("libreface-r18")
        assert self._libreface.preprocess is not None
        self._quad = FacePipeline(self._libreface.preprocess)
        self._session = onnxruntime.InferenceSession(str(exported("libreface-resnet18")))

    def __call__(self, pixels: NDArray[np.uint8], mesh: Array) -> dict[tuple[str, str], Array]:
        """Returns the values of each network and task for a mesh's crop of a picture."""
        from zoo.models import apply_outputs

        box = np.array([*mesh[:, :2].min(0), *mesh[:, :2].max(0)])
        found: dict[tuple[str, str], Array] = {}
        for name, predictor in self._predictors.items():
            crop = predictor._pipeline._crop(pixels, box, mesh)
            values = apply_outputs(predictor.entry, predictor._session.infer(crop[None]), predictor.tasks)
            found.update({(name, task): values[task][0].astype(float) for task in predictor.tasks})
        contract = self._quad.preprocess
        mean, std = (np.array(v, np.float32) for v in (contract.mean, contract.std))
        crop = (self._quad._crop(pixels, box, mesh) * np.float32(contract.scale) - mean) / std
        [entrance] = self._session.get_inputs()
        names = [o.name for o in self._session.get_outputs()]
        tensors = dict(zip(names, self._session.run(None, {entrance.name: crop.transpose(2, 0, 1)[None]}), strict=True))
        for task in ("au-intensity", "au-occurrence"):
            values = apply_outputs(self._libreface, tensors, (task,))
            found["libreface-r18's structure, seeded", task] = values[task][0].astype(float)
        return found


def same(task: str, ours: Array, theirs: Array) -> float:
    """Returns the share of equal decisions: levels 0 to 5, present from 0.5, or the greatest class."""
    if task == "expression":
        return float(ours.argmax() == theirs.argmax())
    if task == "au-intensity":
        return float(np.mean(np.clip(np.rint(ours), 0, 5) == np.clip(np.rint(theirs), 0, 5)))
    return float(np.mean((ours >= 0.5) == (theirs >= 0.5)))


class Set:
    """What is gathered over one set of pictures."""

    def __init__(self) -> None:
        self.pictures = 0
        self.counts: dict[str, dict[str, int]] = {}
        self.values: dict[str, list[float]] = {}
        self.changes: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}

    def count(self, name: str, ours: int, theirs: int, both: int) -> None:
        """Adds the numbers of faces of a picture."""
        for key, value in (("ours", ours), ("theirs", theirs), ("both", both)):
            self.counts.setdefault(name, {"ours": 0, "theirs": 0, "both": 0})[key] += value

    def add(self, name: str, values: Any) -> None:
        """Adds measured values."""
        self.values.setdefault(name, []).extend(np.atleast_1d(values).astype(float).tolist())

    def change(self, which: str, ours: dict[tuple[str, str], Array], theirs: dict[tuple[str, str], Array]) -> None:
        """Adds the change of the networks' outputs on one face."""
        for (model, task), values in ours.items():
            off = np.abs(values - theirs[model, task])
            self.changes.setdefault((model, task, which), []).append(
                (float(off.mean()), float(off.max()), same(task, values, theirs[model, task]))
            )

    def summary(self) -> dict[str, Any]:
        """Returns the set's part of the record."""
        outputs = [
            {"model": model, "task": task, "crops": which, "faces": len(rows),
             "mean": float(np.mean([r[0] for r in rows])), "max": float(np.max([r[1] for r in rows])),
             "same": float(np.mean([r[2] for r in rows]))}
            for (model, task, which), rows in sorted(self.changes.items())
        ]  # fmt: skip
        return {
            "pictures": self.pictures, "faces": self.counts,
            "moved": {name: {"n": len(v), **spread(v)} for name, v in sorted(self.values.items())}, "outputs": outputs,
        }  # fmt: skip


def measure(folder: Path) -> dict[str, Any]:
    """Compares everything; returns the record."""
    from zoo.faces.align import libreface_crop, libreface_quad
    from zoo.faces.attention import AttentionMesh
    from zoo.faces.decode import read_image
    from zoo.faces.detect import BlazeFace
    from zoo.faces.landmarks import PRESENCE, FaceMesh, region_of_detection

    reference = json.loads((folder / "reference.json").read_text())
    detectors = {name: BlazeFace(name) for name in DETECTORS}  # type: ignore[arg-type]
    meshers = {"mesh-468": FaceMesh(), "mesh-478": AttentionMesh()}
    outputs = Outputs()
    sets: dict[str, Set] = {}
    for name, theirs in reference["pictures"].items():
        kind, stem = Path(name).parts[0], Path(name).stem
        here = sets.setdefault(kind, Set())
        here.pictures += 1
        pixels = read_image(folder / name)
        for detector in DETECTORS:
            found = detectors[detector](pixels)
            boxes = [b.reshape(2, 2) for b in found.boxes]
            given = [np.array(b[:4]).reshape(2, 2) for b in theirs[detector]]
            same_face = pairs(boxes, given, box_side)
            here.count(detector, len(boxes), len(given), len(same_face))
            for i, j in same_face:
                here.add(f"{detector} corner / side", np.linalg.norm(boxes[i] - given[j], axis=1) / box_side(given[j]))
                here.add(f"{detector} score", abs(found.scores[i] - theirs[detector][j][4]))
        found = detectors["mediapipe-short-range"](pixels)
        ours: dict[str, list[Array]] = {m: [] for m in MESHES}
        for box, points in zip(found.boxes, found.keypoints, strict=True):
            for mesh_name, mesher in meshers.items():
                mesh, presence = mesher(pixels, region_of_detection(box, points))
                if presence > PRESENCE:
                    ours[mesh_name].append(mesh)
        for mesh_name in MESHES:
            given = [np.array(m) for m in theirs[mesh_name]]
            same_face = pairs(ours[mesh_name], given, eyes)
            here.count(mesh_name, len(ours[mesh_name]), len(given), len(same_face))
            for i, j in same_face:
                mesh, other = ours[mesh_name][i], given[j]
                off = np.linalg.norm((mesh - other)[:, :2], axis=1)
                here.add(f"{mesh_name} point / eye distance, mean of a face", off.mean() / eyes(other))
                here.add(f"{mesh_name} point / eye distance, greatest", off.max() / eyes(other))
                here.add(f"{mesh_name} quad corner / side", quad_moved(libreface_quad(mesh), libreface_quad(other)))
                if mesh_name == "mesh-478":
                    own = np.array(theirs["libreface"][j])
                    here.add("libreface quad, same points", quad_moved(libreface_quad(other), own))
                    here.add("libreface quad, whole way", quad_moved(libreface_quad(mesh), own))
                    aligned = np.asarray(Image.open(folder / "aligned" / f"{kind}-{stem}-{j}.png").convert("RGB"))
                    middle = aligned[16:240, 16:240].astype(float)
                    for label, times in (("as its script warps", 16), ("as the registry warps", 1)):
                        crop = libreface_crop(
                            pixels, libreface_quad(mesh), (224, 224), output=256, supersample=times,
                            interpolation="pillow-bilinear",
                        )  # fmt: skip
                        here.add(f"libreface crop, grey levels, {label}", np.abs(crop - middle).mean())
                    here.change("478 for MediaPipe's 478", outputs(pixels, mesh), outputs(pixels, other))
        for i, j in pairs(ours["mesh-468"], ours["mesh-478"], eyes):
            plain, fine = ours["mesh-468"][i], ours["mesh-478"][j]
            here.add("468 for 478 quad corner / side", quad_moved(libreface_quad(plain), libreface_quad(fine)))
            here.change("468 for 478", outputs(pixels, plain), outputs(pixels, fine))
    return {
        "mediapipe": reference["mediapipe"],
        "versions": {n: version(n) for n in ("numpy", "pillow", "openvino", "onnxruntime")},
        "sets": {kind: found.summary() for kind, found in sets.items()},
    }  # fmt: skip


NAMES = {"people": "photographs and video frames", "rendered": "rendered faces"}


def percent(value: float) -> str:
    """Writes a share with two significant digits; what rounding makes is nought."""
    return f"{100 * value:.1e} %" if 1e-12 < value < 1e-6 else f"{100 * value:.2g} %" if value > 1e-12 else "0 %"


def tables(record: dict[str, Any]) -> dict[str, str]:
    """Returns the tables by their names."""
    sets = record["sets"]
    agreement, crops, changed = [], [], []
    for kind, found in sets.items():
        moved = found["moved"]
        for name in (*DETECTORS, *MESHES):
            faces = found["faces"][name]
            key = "corner / side" if name in DETECTORS else "point / eye distance, mean of a face"
            off = moved.get(f"{name} {key}")
            agreement.append([
                NAMES[kind], name, faces["ours"], faces["theirs"], faces["both"],
                percent(off["mean"]) if off else "", percent(off["max"]) if off else "",
            ])  # fmt: skip
        for label, key in (
            ("`mesh-468`, ours for MediaPipe's", "mesh-468 quad corner / side"),
            ("`mesh-478`, ours for MediaPipe's", "mesh-478 quad corner / side"),
            ("LibreFace's aligner, same points", "libreface quad, same points"),
            ("LibreFace's aligner, from the picture on", "libreface quad, whole way"),
            ("`mesh-468` for `mesh-478`, both ours", "468 for 478 quad corner / side"),
        ):
            off = moved[key]
            crops.append(
                [NAMES[kind], label, off["n"] // 4, *(percent(off[k]) for k in ("mean", "median", "p95", "max"))]
            )
        for row in found["outputs"]:
            changed.append([
                NAMES[kind], row["model"], row["task"], row["crops"], row["faces"], f"{row['mean']:.2g}",
                f"{row['max']:.2g}", f"{100 * row['same']:.1f} %",
            ])  # fmt: skip
    grey = [
        [NAMES[kind], label, found["moved"][key]["n"], f"{found['moved'][key]['mean']:.2f}",
         f"{found['moved'][key]['max']:.2f}"]
        for kind, found in sets.items()
        for label in ("as its script warps", "as the registry warps")
        for key in (f"libreface crop, grey levels, {label}",)
    ]  # fmt: skip

    def draw(rows: list[list[Any]], head: list[str]) -> str:
        return str(tabulate(rows, head, tablefmt="github", disable_numparse=True))

    return {
        "agreement": draw(agreement, ["pictures", "step", "faces here", "MediaPipe's", "both", "mean", "max"]),
        "crops": draw(crops, ["pictures", "corners of LibreFace's crop", "faces", "mean", "median", "95 %", "max"]),
        "grey": draw(grey, ["pictures", "LibreFace's picture, cut to 224 pixels", "faces", "mean", "max"]),
        "outputs": draw(changed, ["pictures", "network", "task", "crops of", "faces", "change, mean", "change, max",
                                  "same decision"]),
    }  # fmt: skip


PAGE = Drawn(
    ROOT / "docs" / "faces.md", RESULTS / "faces.json",
    lambda record: {f"faces-{name}": table for name, table in tables(record).items()},
)  # fmt: skip


def main() -> None:
    """See the module."""
    match sys.argv[1:]:
        case ["pictures", source, folder]:
            write_pictures(Path(source), Path(folder))
        case ["measure", folder]:
            PAGE.keep(measure(Path(folder)))
        case ["tables"]:
            PAGE.main([])
        case ["check"]:
            PAGE.main(["check"])
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
