"""What MediaPipe and LibreFace's own aligner say of a folder of pictures, as numbers for ``benchmarks/faces.py``.

``python faces_reference.py FOLDER ALIGNER`` runs in an environment of its own, with mediapipe 0.10.21, scipy and tqdm
and without this project: mediapipe needs an older numpy. FOLDER is what ``faces.py pictures`` made; ``reference.json``
is written into it, and LibreFace's aligned pictures under ``aligned/``. ALIGNER is ``detect_mediapipe.py`` of a copy of
github.com/ihp-lab/LibreFace.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import mediapipe
import numpy as np
from PIL import Image

FACES = 10
"""Most faces of a picture; LibreFace asks for two."""


def load_aligner(path: str) -> Any:
    """Returns LibreFace's script as a module."""
    if not hasattr(Image, "ANTIALIAS"):
        Image.ANTIALIAS = Image.LANCZOS  # the name that Pillow 10 took away
    spec = importlib.util.spec_from_file_location("libreface_aligner", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contour(connections: Any) -> list[int]:
    """Returns the points of a set of lines."""
    return sorted({int(i) for line in connections for i in line})


def align(aligner: Any, image: Image.Image, mesh: list[list[float]]) -> tuple[list[list[float]], Image.Image]:
    """Runs LibreFace's aligner; returns its quad in the picture's pixels and its picture.

    The quad is a local variable: a call without shrinking and padding, given up there, hands it to Pillow.
    """
    meshes = mediapipe.solutions.face_mesh
    chosen = [i for lines in (meshes.FACEMESH_LEFT_EYE, meshes.FACEMESH_RIGHT_EYE, meshes.FACEMESH_LIPS)
              for i in contour(lines)]  # fmt: skip
    points = np.array(mesh)[chosen, :2]
    seen: dict[str, Any] = {"corner": (0, 0)}
    crop, transform = Image.Image.crop, Image.Image.transform

    class Seen(Exception):
        pass

    def watched_crop(self: Image.Image, box: Any = None) -> Image.Image:
        seen["corner"] = box[:2]
        return crop(self, box)

    def watched_transform(self: Image.Image, size: Any, method: Any, data: Any, *_: Any) -> Image.Image:
        seen["quad"] = np.array(data).reshape(4, 2) - 0.5
        raise Seen

    Image.Image.crop, Image.Image.transform = watched_crop, watched_transform
    try:
        aligner.image_align(image, points.copy(), output_size=1 << 20, enable_padding=False)
    except Seen:
        pass
    finally:
        Image.Image.crop, Image.Image.transform = crop, transform
    quad = seen["quad"] + np.array(seen["corner"])
    return quad.tolist(), aligner.image_align(image, points.copy())


def main() -> None:
    """Writes ``reference.json``."""
    folder, aligner = Path(sys.argv[1]), load_aligner(sys.argv[2])
    solutions = mediapipe.solutions
    found: dict[str, Any] = {}
    detectors = {
        name: solutions.face_detection.FaceDetection(model_selection=number, min_detection_confidence=0.5)
        for name, number in (("mediapipe-short-range", 0), ("mediapipe-full-range", 1))
    }
    meshers = {
        name: solutions.face_mesh.FaceMesh(
            static_image_mode=True, refine_landmarks=refined, max_num_faces=FACES, min_detection_confidence=0.5
        )
        for name, refined in (("mesh-468", False), ("mesh-478", True))
    }
    (folder / "aligned").mkdir(exist_ok=True)
    for path in sorted(folder.glob("*/*.png")):
        if path.parent.name == "aligned":
            continue
        pixels = np.array(Image.open(path).convert("RGB"))
        scale = np.array([pixels.shape[1], pixels.shape[0]])
        one: dict[str, Any] = {}
        for name, detector in detectors.items():
            one[name] = []
            for face in detector.process(pixels).detections or ():
                box = face.location_data.relative_bounding_box
                corners = np.array([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height]) * np.tile(
                    scale, 2
                )
                one[name].append([*corners.tolist(), face.score[0]])
        for name, mesher in meshers.items():
            faces = mesher.process(pixels).multi_face_landmarks or ()
            one[name] = [
                (np.array([[p.x, p.y, p.z] for p in face.landmark]) * [*scale, scale[0]]).tolist() for face in faces
            ]
        one["libreface"] = []
        for number, mesh in enumerate(one["mesh-478"]):
            quad, picture = align(aligner, Image.open(path).convert("RGB"), (np.array(mesh)[:, :2] / scale).tolist())
            one["libreface"].append(quad)
            picture.save(folder / "aligned" / f"{path.parent.name}-{path.stem}-{number}.png")
        found[f"{path.parent.name}/{path.name}"] = one
    (folder / "reference.json").write_text(json.dumps({"mediapipe": mediapipe.__version__, "pictures": found}))


if __name__ == "__main__":
    main()
