"""Files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo._util.files import atomic_path


def test_a_file_gets_the_mode_of_any_other_and_the_process_keeps_its_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").touch()

    def changed(mask: int) -> int:
        raise AssertionError(f"the mask is the whole process's, other threads are writing: {mask:o}")

    monkeypatch.setattr(os, "umask", changed)
    with atomic_path(tmp_path / "whole") as temporary:
        temporary.write_text("all of it")
    assert (tmp_path / "whole").read_text() == "all of it"
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["kept"]
