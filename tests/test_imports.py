"""Who may import whom, and what `import zoo` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "onnxruntime", "openvino", "pandas", "onnx", "timm", "scipy", "sklearn")

# Each room may import the rooms below it (and itself); verbs may import anything.
LAYERS = [
    {"errors", "_util", "_version"},
    {"registry", "weights"},
    {"metrics", "faces", "datasets", "models"},
    {"protocols", "runtimes", "results"},
    {"runs", "latency"},
    {"boards"},
]
VERBS = {
    "bench",
    "check",
    "cli",
    "compare",
    "eval",
    "export",
    "fetch",
    "fit",
    "leaderboard",
    "predict",
    "prepare",
    "publish",
    "recommend",
    "render",
    "score",
    "show",
}
# Seams that lie across a layer, each with its reason.
ALLOWED = {
    ("_util", "errors"),  # the two are one layer
    ("errors", "_util"),
}


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["zoo", "zoo.cli", "zoo.registry", "zoo.errors", "zoo.protocols", "zoo.metrics"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert not _loaded(f"import {module}").intersection(HEAVY)


@pytest.mark.parametrize("verb", sorted(VERBS - {"cli"}))
def test_a_verb_imports_nothing_heavy_before_it_runs(verb: str) -> None:
    loaded = _loaded(f"import zoo.{verb}")
    assert not loaded.intersection({*HEAVY, "numpy", "pydantic", "yaml", "tqdm", "tabulate"})


def test_public_names_are_there_and_unknown_ones_are_not() -> None:
    import zoo

    assert {"evaluate", "get_model", "list_models"} <= set(dir(zoo))
    assert callable(zoo.list_models)
    with pytest.raises(AttributeError, match="nothing_like_this"):
        zoo.nothing_like_this


def _imports(path: Path) -> set[str]:
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {  # imports that only a type checker sees bind nothing at run time
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module] if node.module != "zoo" else [f"zoo.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("zoo.")}
    return found


def test_rooms_import_only_rooms_below_them(repository: Path) -> None:
    level = {room: i for i, rooms in enumerate(LAYERS) for room in rooms}
    wrong = []
    for path in sorted((repository / "zoo").rglob("*.py")):
        room = path.relative_to(repository / "zoo").parts[0].removesuffix(".py")
        if room in VERBS or room in ("__init__", "__main__"):
            continue
        assert room in level, f"{path}: the room '{room}' has no place in the layers"
        for other in _imports(path) - {room}:
            if (room, other) in ALLOWED:
                continue
            if other in VERBS or level.get(other, 99) > level[room]:
                wrong.append(f"{path.relative_to(repository)} imports zoo.{other}")
    assert not wrong, "\n".join(wrong)


def test_metrics_know_no_datasets_and_boards_no_models(repository: Path) -> None:
    for room, forbidden in {
        "metrics": {"datasets", "protocols", "models"},
        "boards": {"models", "runtimes", "datasets", "weights", "faces"},
    }.items():
        for path in (repository / "zoo" / room).rglob("*.py"):
            assert not _imports(path) & forbidden, path
