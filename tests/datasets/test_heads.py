"""Pictures that were cut short in copying, seen without decoding them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.trees import write_disfa_labels
from zoo.datasets import check
from zoo.datasets.heads import is_whole

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_whole_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    PICTURE.save(path)
    assert is_whole(path)
    path.rename(tmp_path / "a.gif")  # what it is decides, not what it is called
    assert is_whole(tmp_path / "a.gif")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_pictures_cut_short(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a.{suffix}"
    PICTURE.save(path)
    content = path.read_bytes()
    path.write_bytes(content + b"\0" * 100)
    assert is_whole(path)
    path.write_bytes(content[: int(len(content) * kept)])
    assert not is_whole(path)


@pytest.mark.parametrize("content", [b"<html>sign in</html>", b"\0" * 5000, b"\xff\xd8", b"x"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert not is_whole(tmp_path / "a.jpg")


def test_the_check_names_them(tmp_path: Path) -> None:
    write_disfa_labels(tmp_path, {"SN001": 4})
    folder = tmp_path / "Videos_LeftCamera" / "SN001"
    folder.mkdir(parents=True)
    for number in range(1, 5):
        PICTURE.save(folder / f"{number}.jpg")
    assert not [f for f in check("disfa", tmp_path).findings if f.code == "damaged-image"]
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:-200])
    (folder / "3.jpg").write_bytes(b"")
    messages = [f.message for f in check("disfa", tmp_path).findings if f.code == "damaged-image"]
    assert len(messages) == 2
    assert any("1 image files are empty: 3.jpg" in m for m in messages)
    assert any("cut short, or no pictures: Videos_LeftCamera/SN001/2.jpg" in m for m in messages)
