"""How long the two ways of adding a model take, command by command: ``python benchmarks/newcomer.py [run | check]``.

``run`` goes both ways as somebody new would, each in an empty folder with an empty cache: a published ONNX file that
needs an entry and no code, and a structure of one's own in a package (``benchmarks/mynet`` has both entries and the
package). The commands are those of ``CONTRIBUTING.md``, taken from the page. ``benchmarks/results/newcomer.json`` keeps
the wall time of each, and the page's table is drawn from it; without a word the table is drawn again, and ``check``
fails where it is another.

Nothing is asked of the internet: the published file comes from a stand-in for the Hub on this machine, the zoo is
installed already, and so is the network that finds faces.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages import RESULTS, ROOT, Drawn
from zoo.boards.text import markdown_table

GIVEN = ROOT / "benchmarks" / "mynet"

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MEANT = {
    "registry=true": "registry=mine.yaml", "model=<name>": "model=mynet", "dataset=...": "dataset=synthface-rafdb",
    "out=leaderboards": "out=rehearsal",
}  # fmt: skip
"""What is put for what the page leaves to the reader: the page's own advice for a rehearsal."""

WAYS = {"onnx": "a published ONNX file", "package": "a structure of your own"}
INSTALL = "python -m pip install -q --no-index --no-deps --no-build-isolation --target installed ./mynet"
"""Beside the zoo's environment, not into it; what builds the package is there already."""


def steps(page: str) -> list[str]:
    """Returns the commands that the page names for adding a model, in its order, for an entry in ``mine.yaml``."""
    section = page.partition("\n## Add a model\n")[2].partition("\nBefore that, ")[0]
    commands = []
    for found in re.findall(r"`(python -m zoo\.\w+ [^`]+)`", section):
        words = [MEANT.get(word, word) for word in found.split()]
        words += [] if "registry=mine.yaml" in words else ["registry=mine.yaml"]
        commands.append(" ".join(words))
    if unclear := [c for c in commands if re.search(r"<|\.\.\.", c)]:
        raise SystemExit(f"say in MEANT what stands for what the reader fills in: {'; '.join(unclear)}")
    return commands


def title(command: str) -> str:
    """Returns a command's name in the table."""
    if "pip" in command:
        return "pip install"
    verb = command.split()[2]
    return f"{verb} of the registry file" if verb == "zoo.check" and "model=" not in command else verb


def lines(path: Path) -> int:
    """Counts the lines that somebody has to write."""
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())


def publish(folder: Path) -> None:
    """Writes what a publisher would have: seeded weights, and their graph."""
    import onnx
    import torch

    from benchmarks.mynet.mynet import MyNet
    from zoo.models.export import to_onnx
    from zoo.models.networks.named import Named

    torch.manual_seed(0)
    net = MyNet(7).eval()
    torch.save(net.state_dict(), folder / "mynet.pth")
    onnx.save(to_onnx(Named(net, "logits"), (3, 112, 112)), folder / "mynet.onnx")


def prepare(way: str, published: Path, folder: Path) -> list[str]:
    """Writes what the newcomer writes, and returns the files: the part that takes a person's time and is not timed."""
    from PIL import Image
    from skimage.data import astronaut

    from zoo._util.files import sha256_of

    Image.fromarray(astronaut()).save(folder / "photo.jpg", quality=95)
    weights = published / ("mynet.onnx" if way == "onnx" else "mynet.pth")
    entry = (GIVEN / f"{way}.yaml").read_text(encoding="utf-8").replace("0" * 64, sha256_of(weights))
    (folder / "mine.yaml").write_text(entry, encoding="utf-8")
    if way == "onnx":
        return ["mine.yaml"]
    shutil.copy(weights, folder)
    (folder / "mynet").mkdir()
    for name in ("pyproject.toml", "mynet.py"):
        shutil.copy(GIVEN / name, folder / "mynet")
    return ["mine.yaml", "mynet/pyproject.toml", "mynet/mynet.py"]


def timed(command: str, folder: Path, environment: Mapping[str, str]) -> float:
    """Runs a command and returns its seconds.

    Raises:
        SystemExit: It failed.
    """
    words = shlex.split(command)
    words[0] = sys.executable if words[0] == "python" else words[0]
    started = time.perf_counter()
    done = subprocess.run(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stdout}\nexit status {done.returncode}")
    print(f"{taken:6.1f} s  {title(command)}", file=sys.stderr, flush=True)
    return taken


def walk(way: str, published: Path, folder: Path, hub: str) -> dict[str, Any]:
    """Goes one way, in an empty folder."""
    from zoo._util.files import zoo_home
    from zoo.faces._tools import ENTRY, SHORT_RANGE
    from zoo.weights import cached, locate

    work, home = folder / "work", folder / "home"
    work.mkdir(parents=True)
    written = prepare(way, published, work)
    finder = cached(SHORT_RANGE) or locate(SHORT_RANGE, entry=ENTRY)
    kept = home / finder.relative_to(zoo_home())
    kept.parent.mkdir(parents=True)
    shutil.copy(finder, kept)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ZOO_")},
        "ZOO_HOME": str(home), "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(work / "installed")]),
    }  # fmt: skip
    commands = [INSTALL] if way == "package" else []
    commands += steps(PAGE.page.read_text(encoding="utf-8"))
    seconds = [{"step": title(c), "seconds": round(timed(c, work, environment), 2)} for c in commands]
    return {"way": way, "lines": {name: lines(work / name) for name in written}, "steps": seconds}


def run() -> dict[str, Any]:
    """Goes both ways; returns the record."""
    from tests.weights.hub_server import HubServer
    from zoo.results.environment import capture_code, capture_environment

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, HubServer() as hub:
        published = Path(name) / "published"
        published.mkdir()
        publish(published)
        hub.add_file("me/mynet", COMMIT, "mynet.onnx", (published / "mynet.onnx").read_bytes())
        walks = [walk(way, published, Path(name) / way, hub.url) for way in WAYS]
    return {
        "environment": capture_environment().model_dump(mode="json"), "code": capture_code().model_dump(mode="json"),
        "load_before": round(load, 2), "load_after": round(os.getloadavg()[0], 2), "walks": walks,
    }  # fmt: skip


def table(record: dict[str, Any]) -> str:
    """Draws a record."""
    taken = {w["way"]: {s["step"]: s["seconds"] for s in w["steps"]} for w in record["walks"]}
    names = list(dict.fromkeys(step for way in reversed(list(taken.values())) for step in way))
    rows = [[n, *(f"{way[n]:.1f}" if n in way else "–" for way in taken.values())] for n in names]
    rows.append(["all of it", *(f"{sum(way.values()):.1f}" for way in taken.values())])
    about = record["environment"]
    written = "; ".join(
        f"for {WAYS[w['way']]}, {', '.join(f'{count} of `{name}`' for name, count in w['lines'].items())}"
        for w in record["walks"]
    )
    text = markdown_table(["seconds", *(WAYS[way] for way in taken)], rows)
    return text + (
        f"\n\nLines to write: {written}.\n\n"
        f"{about['cpu']}, {about['cores_usable']} cores, Python {about['python']}, {record['created'][:10]}; "
        f"load {record['load_before']:g} before and {record['load_after']:g} after."
    )


PAGE = Drawn(ROOT / "CONTRIBUTING.md", RESULTS / "newcomer.json", lambda record: {"newcomer": table(record)})

if __name__ == "__main__":
    PAGE.main(sys.argv[1:], run)
