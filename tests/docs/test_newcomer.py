"""The two ways of adding a model that ``benchmarks/newcomer.py`` times: its commands, entries and package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from benchmarks import newcomer
from zoo.check import main


def test_the_commands_are_those_of_the_page() -> None:
    steps = newcomer.steps(newcomer.PAGE.page.read_text(encoding="utf-8"))
    assert [newcomer.title(s) for s in steps] == [
        "zoo.check of the registry file", "zoo.check", "zoo.show", "zoo.predict", "zoo.eval",
    ]  # fmt: skip
    assert all("registry=mine.yaml" in s for s in steps)
    assert steps[-1].endswith("dataset=synthface-rafdb out=rehearsal registry=mine.yaml")
    with pytest.raises(SystemExit, match="say in MEANT"):
        newcomer.steps("\n## Add a model\n`python -m zoo.show model=<yours>`\nBefore that, ")


@pytest.mark.parametrize("way", newcomer.WAYS)
def test_the_entries_pass_the_check(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    newcomer.publish(tmp_path)
    newcomer.prepare(way, tmp_path, work)
    entry = work / "mine.yaml"
    if way == "onnx":  # without the stand-in for the Hub
        source = f"hf:me/mynet@{newcomer.COMMIT}:mynet.onnx"
        assert source in entry.read_text()
        entry.write_text(entry.read_text().replace(source, "path:../mynet.onnx"))
    else:  # not installed
        project = (work / "mynet" / "pyproject.toml").read_text()
        assert '[project.entry-points."zoo.families"]\nmynet = "mynet:FAMILY"' in project
        point = metadata.EntryPoint("mynet", "benchmarks.mynet.mynet:FAMILY", "zoo.families")
        monkeypatch.setattr("zoo.models.base.entry_points", lambda **_: [point])
    assert main(["model=mynet", f"registry={entry}", f"out={tmp_path / 'out'}"]) == 0, capsys.readouterr().err
    assert "loads strictly" in capsys.readouterr().out
