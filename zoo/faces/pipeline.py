"""From a picture to the network's input, as a preprocess contract says: detect, place landmarks, choose, align, warp.

What comes out is uint8 of exactly the contract's size and channels; scale, mean and std belong to the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import ContractError, UsageError
from zoo.faces.track import Tracker
from zoo.registry.schema import Box, EyeLineSquare, LibreFaceQuad, Preprocess, Similarity

if TYPE_CHECKING:
    from zoo.faces.detect import BlazeFace
    from zoo.faces.yunet import YuNet

_NO_FACE: Final = -1
_YUNET_POINTS: Final = 5
_BOX_LIMIT: Final = 8  # sides of the picture; what is larger is an error in the dataset's numbers


@dataclass(frozen=True)
class Faces:
    """The faces of one picture.

    Attributes:
        crops: uint8 ``[k, height, width, channels]`` as the contract wants.
        boxes: float64 ``[k, 4]``: left, top, right, bottom in pixels of the picture; may reach outside.
        scores: float64 ``[k]``: the detector's; 1 where there was no detector.
        landmarks: float64 ``[k, points, 3]`` in pixels, or None where the contract uses none. YuNet's have z = 0.
        chosen: Which face counts, by the contract's rule; -1 where there is none, or the tracked one is not there.
    """

    crops: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    landmarks: NDArray[np.float64] | None
    chosen: int

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, number: int) -> Faces:
        """Returns one of the faces alone, as the one that counts; none of them for -1."""
        one = slice(number, number + 1) if number >= 0 else slice(0)
        landmarks = None if self.landmarks is None else self.landmarks[one]
        return Faces(self.crops[one], self.boxes[one], self.scores[one], landmarks, chosen=min(number, 0))


@dataclass(frozen=True)
class _Candidate:
    box: NDArray[np.float64]
    score: float
    keypoints: NDArray[np.float64] | None = None


_Found: TypeAlias = tuple[_Candidate, "NDArray[np.float64] | None"]


def _boxes(found: list[_Found]) -> NDArray[np.float64]:
    return np.array([c.box for c, _ in found], np.float64).reshape(-1, 4)


class FacePipeline:
    """A preprocess contract, ready to run. Safe to call from several threads.

    Attributes:
        preprocess: The contract.
        shape: Height, width and channels of a crop.
    """

    def __init__(self, preprocess: Preprocess, *, threads: int = 1) -> None:
        """Loads what the contract needs; see :func:`build_pipeline`."""
        _check(preprocess)
        self.preprocess = preprocess
        self.shape = (*preprocess.size, preprocess.channels)
        self._mesh = None
        self._detector: BlazeFace | YuNet | None = None
        if preprocess.detector == "yunet":
            from zoo.faces.yunet import YuNet

            self._detector = YuNet(threads=threads)
        elif preprocess.detector in ("mediapipe-short-range", "mediapipe-full-range"):
            from zoo.faces.detect import BlazeFace

            self._detector = BlazeFace(preprocess.detector, threads=threads)
        if preprocess.landmarks == "mesh-468":
            from zoo.faces.landmarks import FaceMesh

            self._mesh = FaceMesh(threads=threads)
        elif preprocess.landmarks == "mesh-478":
            from zoo.faces.attention import AttentionMesh

            self._mesh = AttentionMesh(threads=threads)
        self._points = self._mesh.points if self._mesh else _YUNET_POINTS if preprocess.landmarks == "yunet-5" else 0

    @property
    def tracks(self) -> bool:
        """Whether which face counts depends on the frames before: they need one tracker, in their order."""
        return self.preprocess.faces == "tracked"

    def process(self, image: NDArray[np.uint8], box: ArrayLike | None = None, tracker: Tracker | None = None) -> Faces:
        """Crops every face of a picture.

        Args:
            image: RGB uint8 ``[height, width, 3]``.
            box: Left, top, right, bottom in pixels; read by the detector ``dataset-box`` alone. NaN, empty
                or outside: no face.
            tracker: The video's, whose next frame this is; read where the contract tracks.

        Returns:
            The faces, the detector's best first; none is not an error.

        Raises:
            UsageError: The image is not what is asked for, or the contract needs a box and there is none.
        """
        image = _checked(image)
        found = self._found(image, box)
        crops = [self._crop(image, candidate.box, mesh) for candidate, mesh in found]
        return Faces(
            crops=np.stack(crops) if crops else np.zeros((0, *self.shape), np.uint8),
            boxes=_boxes(found),
            scores=np.array([c.score for c, _ in found]),
            landmarks=np.array([m for _, m in found]).reshape(-1, self._points, 3) if self._points else None,
            chosen=self._chosen(image, found, tracker),
        )

    def crop(
        self, image: NDArray[np.uint8], box: ArrayLike | None = None, tracker: Tracker | None = None
    ) -> NDArray[np.uint8] | None:
        """Crops the face that counts: ``process(...).crops[chosen]`` without the work on the others.

        Args:
            image: RGB uint8 ``[height, width, 3]``.
            box: As in :meth:`process`.
            tracker: As in :meth:`process`.

        Returns:
            uint8 ``[height, width, channels]``, or None where there is no face.

        Raises:
            UsageError: As in :meth:`process`.
        """
        image = _checked(image)
        if self.tracks:
            found = self._found(image, box)
            number = self._chosen(image, found, tracker)
            return None if number == _NO_FACE else self._crop(image, found[number][0].box, found[number][1])
        candidates = self._candidates(image, box)
        for i in self._ranked(image, candidates):
            is_face, mesh = self._landmarks(image, candidates[i])
            if is_face:
                return self._crop(image, candidates[i].box, mesh)
        return None

    def follow(self, image: NDArray[np.uint8], tracker: Tracker) -> None:
        """Shows a tracker a frame, RGB uint8 ``[height, width, 3]``, that nobody asked a crop of."""
        tracker.choose(_boxes(self._found(_checked(image), None)))

    def _found(self, image: NDArray[np.uint8], box: ArrayLike | None) -> list[_Found]:
        """Returns the candidates that are faces, with their meshes."""
        found = []
        for candidate in self._candidates(image, box):
            is_face, mesh = self._landmarks(image, candidate)
            if is_face:
                found.append((candidate, mesh))
        return found

    def _chosen(self, image: NDArray[np.uint8], found: list[_Found], tracker: Tracker | None) -> int:
        if self.tracks and tracker is not None:
            return tracker.choose(_boxes(found))
        ranked = self._ranked(image, [c for c, _ in found])
        return ranked[0] if ranked else _NO_FACE

    def _candidates(self, image: NDArray[np.uint8], box: ArrayLike | None) -> list[_Candidate]:
        if self.preprocess.detector == "dataset-box":
            return self._given(image, box)
        if self._detector is None:
            height, width = image.shape[:2]
            return [_Candidate(np.array([0.0, 0.0, width, height]), 1.0)]
        found = self._detector(image)
        return [_Candidate(b, float(s), k) for b, s, k in zip(found.boxes, found.scores, found.keypoints, strict=True)]

    def _given(self, image: NDArray[np.uint8], box: ArrayLike | None) -> list[_Candidate]:
        if box is None:
            raise UsageError(
                "this contract takes the face's box from the dataset, and none was given",
                why="detector: dataset-box",
                fix="use a dataset that ships boxes, or a model whose contract detects faces",
            )
        given = np.asarray(box, np.float64)
        if given.shape != (4,):
            raise UsageError(f"a box is left, top, right, bottom; got shape {given.shape}")
        edge = np.array(image.shape[1::-1])
        outside = (given[2:] <= 0).any() or (given[:2] >= edge).any()
        if not np.isfinite(given).all() or (given[2:] <= given[:2]).any() or outside:
            return []
        if (given[2:] - given[:2]).max() > _BOX_LIMIT * edge.max():
            raise UsageError(f"the box {given.tolist()} is far larger than its picture, {edge[0]}x{edge[1]} pixels")
        return [_Candidate(given, 1.0)]

    def _landmarks(self, image: NDArray[np.uint8], candidate: _Candidate) -> tuple[bool, NDArray[np.float64] | None]:
        """Returns whether a candidate is a face, and its landmarks where the contract uses some."""
        if self._mesh is None:
            points = candidate.keypoints
            if not self._points or points is None:
                return True, None
            return True, np.column_stack((points, np.zeros(len(points))))
        from zoo.faces.landmarks import PRESENCE, region_of_detection

        if candidate.keypoints is None:
            mesh, presence = self._mesh.in_box(image, candidate.box)
        elif len(candidate.keypoints) == _YUNET_POINTS:  # its boxes are not those that the mesh was made for
            mesh, presence = self._mesh.in_box(image, candidate.box, candidate.keypoints)
        else:
            mesh, presence = self._mesh(image, region_of_detection(candidate.box, candidate.keypoints))
        return presence > PRESENCE, mesh

    def _ranked(self, image: NDArray[np.uint8], candidates: list[_Candidate]) -> list[int]:
        """Returns the candidates' numbers, the one that counts first; equals keep the detector's order."""
        if not candidates:
            return []
        boxes = np.array([c.box for c in candidates])
        sides = boxes[:, 2:] - boxes[:, :2]
        if self.preprocess.faces != "central":
            key = -sides[:, 0] * sides[:, 1]
        else:
            offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array(image.shape[1::-1]) / 2
            key = np.hypot(offset[:, 0], offset[:, 1])
        order: list[int] = np.argsort(key, kind="stable").tolist()
        return order

    def _crop(
        self, image: NDArray[np.uint8], box: NDArray[np.float64], mesh: NDArray[np.float64] | None
    ) -> NDArray[np.uint8]:
        from zoo.faces import align
        from zoo.faces.warp import affine, resize_box

        contract = self.preprocess
        spec, size, interpolation = contract.align, contract.size, contract.interpolation
        if isinstance(spec, LibreFaceQuad):
            assert mesh is not None
            crop = align.libreface_crop(
                image, align.libreface_quad(mesh), size,
                output=spec.output, supersample=spec.supersample, interpolation=interpolation,
            )  # fmt: skip
        elif isinstance(spec, Similarity):
            assert mesh is not None
            crop = affine(image, align.similarity_matrix(mesh, spec.template, size[0]), size, interpolation)
        elif isinstance(spec, EyeLineSquare):
            assert mesh is not None
            crop = affine(image, align.eye_line_square(mesh, spec.expand, spec.output, size), size, interpolation)
        else:
            area = align.expand_box(box, spec.expand, spec.square) if isinstance(spec, Box) else box
            crop = resize_box(image, area, size, interpolation)
        return _colour(crop, contract.colour)


def _colour(crop: NDArray[np.uint8], colour: str) -> NDArray[np.uint8]:
    """Converts an RGB crop; grey is Pillow's mode L, (299 R + 587 G + 114 B) / 1000 of ITU-R BT.601."""
    if colour == "gray":
        from PIL import Image

        return np.asarray(Image.fromarray(crop).convert("L"))[..., None]
    return np.ascontiguousarray(crop[..., ::-1] if colour == "bgr" else crop)


def _checked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(f"a picture is RGB uint8 [height, width, 3]; got {image.dtype} {list(image.shape)}")
    return np.ascontiguousarray(image)


def _check(preprocess: Preprocess) -> None:
    """Refuses what no code here can do, before anything is loaded.

    Raises:
        ContractError: Names the part of the contract.
    """
    why = None
    template = preprocess.align.template if isinstance(preprocess.align, Similarity) else None
    if preprocess.landmarks != "none" and preprocess.detector == "none":
        why = f"landmarks {preprocess.landmarks} need a detector"
    elif preprocess.landmarks == "yunet-5" and preprocess.detector != "yunet":
        why = f"landmarks yunet-5 come from the detector yunet, not from {preprocess.detector}"
    elif preprocess.landmarks == "yunet-5" and (
        template == "openface-112" or isinstance(preprocess.align, LibreFaceQuad)
    ):
        why = f"align {preprocess.align.method} needs a mesh, and landmarks yunet-5 are five points"
    elif preprocess.faces == "tracked" and preprocess.detector in ("none", "dataset-box"):
        why = f"faces tracked: the detector '{preprocess.detector}' gives one face, so there is none to choose"
    elif isinstance(preprocess.align, LibreFaceQuad | EyeLineSquare) and max(preprocess.size) > preprocess.align.output:
        why = f"size {preprocess.size} is larger than the aligned picture, output {preprocess.align.output}"
    elif isinstance(preprocess.align, Similarity) and preprocess.size[0] != preprocess.size[1]:
        why = f"a template is square, size {preprocess.size} is not"
    if why:
        raise ContractError("this preprocess contract cannot be run", why=why)


def build_pipeline(preprocess: Preprocess, *, threads: int = 1) -> FacePipeline:
    """Loads what a contract needs.

    Args:
        preprocess: The contract.
        threads: How many threads may call the pipeline at once; each call runs its networks on one core.

    Raises:
        ContractError: The contract names a step that is not built, or steps that do not fit together.
        WeightsMissingError: A detector or landmark file is neither in the cache nor to be had.
    """
    return FacePipeline(preprocess, threads=threads)


def describe(preprocess: Preprocess) -> list[str]:
    """Returns the ids of a contract's steps, in order.

    Example:
        >>> describe(Preprocess(size=(224, 224)))
        ['align:whole-image', 'warp:pillow-bilinear-antialias', 'size:224x224', 'colour:rgb']
    """
    steps = []
    if preprocess.detector != "none":
        steps += [f"detect:{preprocess.detector}", f"choose:{preprocess.faces}"]
    if preprocess.landmarks != "none":
        steps.append(f"landmarks:{preprocess.landmarks}")
    values = preprocess.align.model_dump(exclude={"method"})
    options = ",".join(f"{k}={str(v).lower()}" for k, v in values.items())
    steps.append(f"align:{preprocess.align.method}" + (f"({options})" if options else ""))
    height, width = preprocess.size
    return [
        *steps, f"warp:{preprocess.interpolation}", f"size:{height}x{width}", f"colour:{preprocess.colour}"
    ]  # fmt: skip
