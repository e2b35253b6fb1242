"""The whole way, timed: picture file, detector, landmarks, crop, network, labels, and the share of each stage.

Pictures are rendered faces of 1024 x 768 pixels, one face each, as JPEG files: the size of LibreFace's Tables 7 to 9
(Chang et al. 2024, arXiv 2308.10713), whose own pictures are not published.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo._util.files import content_hash, sha256_of, zoo_home
from zoo.errors import ContractError
from zoo.faces.decode import read_image
from zoo.faces.pipeline import FacePipeline
from zoo.latency.scenarios import Pixels
from zoo.registry.schema import Preprocess
from zoo.runtimes.base import Tensors

PEOPLE, PICTURES, SIZE = 8, 4, (1024, 768)
"""People, pictures of each, and width and height in pixels."""
HEAD = 0.55
"""Size of a head against one that fills the picture's height: as before a webcam. LibreFace's crop then stays inside
the picture; where it does not, its padding and blur cost several times everything else."""


def render_pictures(folder: Path, *, people: int = PEOPLE, each: int = PICTURES, size: tuple[int, int] = SIZE) -> None:
    """Writes rendered faces as JPEG files; equal arguments give equal pictures.

    Args:
        folder: Is made; whole or not at all.
        people: How many.
        each: Pictures of each.
        size: Width and height.
    """
    from zoo.datasets.synthface.face import Face
    from zoo.datasets.synthface.identity import draw_identity
    from zoo.datasets.synthface.media import jpeg
    from zoo.datasets.synthface.subjects import recording, usual_pose

    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".pictures-"))
    try:
        for person in range(people):
            who = draw_identity(0, person)
            usual = usual_pose(who, size)
            rest = replace(usual, scale=usual.scale * HEAD)
            face, video = Face(who, size, rest), recording((0, person, 0), rest, 200)
            for k in range(each):
                frame = 25 + k * (150 // each)
                (made / f"{person:02d}-{k:02d}.jpg").write_bytes(jpeg(face.render(video.au[frame], video.poses[frame])))
        if not folder.exists():  # another process may have been faster
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def pictures() -> list[Path]:
    """Returns the pictures, rendered now if they are not in the cache folder."""
    from zoo.datasets import synthface

    sources = {p.name: sha256_of(p) for p in sorted(Path(synthface.__path__[0]).glob("*.py"))}
    folder = zoo_home() / "bench" / f"pictures-{content_hash([sources, PEOPLE, PICTURES, SIZE, HEAD], 12)}"
    if not folder.exists():
        render_pictures(folder)
    return sorted(folder.glob("*.jpg"))


class _Staged(FacePipeline):
    """A face pipeline that notes how long its stages take."""

    def __init__(self, preprocess: Preprocess, spent: dict[str, float]) -> None:
        super().__init__(preprocess)
        self.spent = spent

    def _candidates(self, *given: Any) -> Any:
        start = time.perf_counter()
        found = super()._candidates(*given)
        self.spent["detect"] += time.perf_counter() - start
        return found

    def _landmarks(self, *given: Any) -> Any:
        start = time.perf_counter()
        found = super()._landmarks(*given)
        self.spent["landmarks"] += time.perf_counter() - start
        return found

    def _crop(self, *given: Any) -> Any:
        start = time.perf_counter()
        found = super()._crop(*given)
        self.spent["crop"] += time.perf_counter() - start
        return found


class Pipeline:
    """An encoder with everything before and after it.

    Args:
        encoder: The opened encoder; its session, contract and outputs are used.
        preprocess: How faces are found and cropped.
        batch: Pictures a query.

    Raises:
        ContractError: The contract cannot be run.
    """

    def __init__(self, encoder: Any, preprocess: Preprocess, batch: int) -> None:
        self.encoder, self.batch = encoder, batch
        self.info, self.about, self.making = encoder.info, encoder.about, encoder.making
        self._spent: dict[str, float] = defaultdict(float)
        self._images = 0
        self._faces = _Staged(preprocess, self._spent)

    def pool(self) -> list[Any]:
        """Returns lists of picture files; those without a face, to this contract, are left out.

        Raises:
            ContractError: The contract finds a face in fewer than half of the pictures.
        """
        every = pictures()
        found = [p for p in every if self._faces.crop(read_image(p)) is not None]
        if len(found) * 2 < len(every):
            raise ContractError(
                f"a face is found in {len(found)} of {len(every)} rendered pictures", where=f"model {self.about.name}",
                why="a pipeline that finds no face skips the network, and would be timed as fast",
            )  # fmt: skip
        self._spent.clear()
        return [[found[(i + k) % len(found)] for k in range(self.batch)] for i in range(len(found))]

    def infer(self, query: Any) -> dict[str, NDArray[Any]]:
        """Runs a list of picture files to label values."""
        spent, crops = self._spent, []
        for path in query:
            start = time.perf_counter()
            image = read_image(path)
            spent["decode"] += time.perf_counter() - start
            crop = self._faces.crop(image)
            assert crop is not None, "the pool holds pictures with a face"
            crops.append(crop)
        start = time.perf_counter()
        tensors = self.encoder.infer(np.stack(crops))
        middle = time.perf_counter()
        values = self._labels(tensors)
        spent["network"] += middle - start
        spent["labels"] += time.perf_counter() - middle
        self._images += len(query)
        return values

    def _labels(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        if self.encoder.entry is None:
            return dict(tensors)
        from zoo.models import apply_outputs

        return {str(k): v for k, v in apply_outputs(self.encoder.entry, tensors, self.about.tasks).items()}

    def stream(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """Runs queries one after the other."""
        for key, query in batches:
            yield key, self.infer(query)

    def outputs(self, crops: Pixels) -> Tensors:
        """Runs one batch of crops through the network alone."""
        found: Tensors = self.encoder.outputs(crops)
        return found

    def decisions(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Returns expressions and thresholded AUs."""
        found: dict[str, NDArray[Any]] = self.encoder.decisions(tensors)
        return found

    def stages(self) -> dict[str, float]:
        """Returns mean milliseconds of each stage of an image, over all queries since the pool was made."""
        order = ("decode", "detect", "landmarks", "crop", "network", "labels")
        return {k: self._spent[k] * 1e3 / max(1, self._images) for k in order if k in self._spent}

    def verify(self) -> None:
        """Holds the network's outputs against its entry."""
        self.encoder.verify()

    def peak_memory(self) -> int | None:
        """Asks the encoder."""
        found: int | None = self.encoder.peak_memory()
        return found

    def close(self) -> None:
        """Closes the session."""
        self.encoder.close()
