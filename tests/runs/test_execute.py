"""Streaming execution when it goes wrong: what was begun is ended."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.tiny import LABELS, tiny_pictures, tiny_registry
from zoo import score
from zoo.runs.evaluate import Settings, evaluate
from zoo.runs.execute import Columns, Crops, run_units
from zoo.runs.predictions import Unit


def test_a_store_that_fails_ends_decoding_and_inference() -> None:
    ended: list[str] = []

    def prepared() -> Generator[Crops, None, None]:
        try:
            for number in range(3):
                there = np.ones(2, bool)
                yield Crops(Unit(number, 0, np.arange(2)), np.zeros((2, 4, 4, 3), np.uint8), there, there, ())
        finally:
            ended.append("decoding")

    def stream(batches: Iterable[tuple[Any, np.ndarray]]) -> Generator[tuple[Any, Columns], None, None]:
        try:
            for key, batch in batches:
                yield key, {"au-intensity/AU01": np.zeros(len(batch), np.float32)}
        finally:
            ended.append("inference")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):  # the traceback keeps the frames alive, as an error on its way does
        run_units(prepared(), stream, full, ["au-intensity/AU01"], batch=2, done=lambda _: None)
    assert ended == ["inference", "decoding"]


def test_a_result_with_a_picture_that_cannot_be_decoded_is_not_complete(tmp_path: Path) -> None:
    registry = [tiny_registry(tmp_path)]
    root = tiny_pictures(tmp_path / "pictures", 4)
    settings = Settings(resamples=20)
    done = evaluate("tiny", "folder", root=root, registry=registry, settings=settings)
    assert done.record.dataset.complete
    picture = root / LABELS[0] / "00003.png"
    picture.write_bytes(picture.read_bytes()[:40])
    record = evaluate("tiny", "folder", root=root, registry=registry, settings=settings).record
    assert (record.coverage.samples, record.coverage.undecodable) == (12, 1)
    assert not record.dataset.complete


def test_scores_of_stored_predictions_say_what_they_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, root = tiny_registry(tmp_path), tiny_pictures(tmp_path / "pictures", 4)
    done = evaluate("tiny", "folder", root=root, registry=[registry], settings=Settings(resamples=20))
    words = [f"predictions={done.predictions}", f"root={root}", f"registry={registry}", "resamples=20"]
    assert score.main(words) == 0
    said = capsys.readouterr().err
    assert "training data: unknown (nothing is known of where the images of a user's folder come from)" in said
    assert f"{done.record.protocol.ref}: 12 samples, complete" in said
