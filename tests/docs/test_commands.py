"""Every command of the pages runs, does what its page says, and prints what its page shows.

What stands for the reader's files is rendered or made up (:mod:`tests.docs.world`, which also lists the few commands
that are not run as they stand). A command that is new on a page is run without a word here, if what it names is known
there; if not, its test fails.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import pytest
import yaml

from tests.docs.pages import PAGES, Command, commands, commands_in
from tests.docs.world import INSTEAD, World, filled, stands_for
from tests.helpers.upload_server import UploadServer

pytestmark = pytest.mark.package

COMMANDS = commands()

SAYS: tuple[tuple[str, str], ...] = (
    (r"zoo\.check dataset=|export ZOO_", r"complete: 0 errors"),
    (r"zoo\.check dataset=|export ZOO_", r"\S+@\d+: "),  # which protocols the copy can serve
    (r"zoo\.check model=", r"hash as the registry says[\s\S]*loads strictly, outputs as declared"),
    (r"zoo\.check registry=true", r"registry: \d+ entries"),
    (r"zoo\.compare ", r"first − second[\s\S]*p \(Holm\)[\s\S]*paired bootstrap"),
    (r"zoo\.eval ", r"values with 95 % intervals[\s\S]*faces found: [\s\S]*training data: "),
    (r"zoo\.eval ", r"(?m)^predictions: \S+\.parquet\n(?:.*\n)*record: \S+\.json\n(?:.*\n)*leaderboard: \S+README\.md"),
    (r"zoo\.eval .*affwild2-mtl-", r"P_MTL"),
    (r"zoo\.eval .*submit=true", r"git switch -c [\s\S]*zoo\.leaderboard check=true[\s\S]*open a pull request"),
    (r"zoo\.export ", r"contract\.json\n[\s\S]*run\.py"),
    (r"zoo\.fetch ", r"(?m)^\S+: \S.*\n"),  # the licence
    (r"zoo\.fit ", r"fitted on \d+ frames; epoch \d+ is kept\nscore it: python -m zoo\.eval "),
    (r"zoo\.leaderboard$", r"index\.html"),
    (r"zoo\.leaderboard check=true", r"every board in leaderboards is what the records say"),
    (r"python -m zoo$", r"(?m)^verbs:\n(?:  \S+ .*\n)+"),
    (r"zoo\.leaderboard against=", r"(?m)^\|.*\|$|No board changes\."),
    (r"zoo\.leaderboard hub=", r"model-index:"),
    (r"zoo\.predict ", r"(?m)^[1-9]\d* pictures: [1-9]\d* faces, 0 without a face, 0 not decoded$"),
    (r"zoo\.publish ", r"published: http"),
    (r"zoo\.recommend --help", r"max_latency_ms="),
    (r"zoo\.recommend task=", r"(?m)^scores: .*\n(?:.*\n)*times: "),
    (r"zoo\.render ", r"now: python -m zoo\.check dataset="),
    (r"zoo\.score csv=", r"values with 95 % intervals[\s\S]*record: "),
    (r"zoo\.score predictions=", r"metric[\s\S]*\[[\s\S]* samples, \d+ with a face"),
    (r"zoo\.show(?: task=\S+ license=\S+)?$", r"(?m)^fer-mini-xception .*verified"),
    (r"zoo\.show model=", r"(?m)^preprocess:\n(?:.*\n)*licence:\n(?:.*\n)*contract:\n"),
    (r"zoo\.bench ", r"(?m)^\S.*, \S"),
    (r"benchmarks/|python -c |^cat ", r""),
)
"""What a command says, by its kind: patterns of the command, as it stands on its page, and of all that it prints."""

PATHS = r"zoo\.(?:fetch|fit|predict|export|render)\b"
"""Verbs that print the paths of what they have written."""

DRAWN_AGAIN = r"zoo\.recommend "
"""What these print follows the committed records and the machine; their page is written by ``benchmarks/walk.py``."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with UploadServer() as hub:
        yield World(tmp_path_factory.mktemp("docs"), hub, COMMANDS)


def alike(text: str) -> str:
    """Leaves out what differs from run to run: numbers, intervals, widths, and whether there is one or more."""
    text = re.sub(r"-?\d+(?:\.\d+)*|–", "#", text)
    text = re.sub(r"\[#, #\]", "", text)
    text = re.sub(r"\b(face|stream|thread)s\b", r"\1", re.sub(r"-{2,}", "--", text))
    return " ".join(text.split())


@pytest.mark.parametrize("command", [c for c in COMMANDS if stands_for(c.text)], ids=lambda c: c.text)
def test_it_runs(world: World, command: Command) -> None:
    done = world.run(command.text)
    if done.code and "INFERENCE_PRECISION_HINT" in done.err:
        pytest.skip("this processor does not compute in bf16")
    # A recommendation without a model that fits says so, and that is its answer.
    none = "zoo.recommend" in command.text and "no model meets these constraints" in done.err
    assert done.code == (1 if none else 0), done.text
    says = [what for kind, what in SAYS if re.search(kind, command.text)]
    assert says, f"{command.page} has a new kind of command: say in SAYS what {command.text} prints"
    for what in says:
        assert re.search(what, done.text), f"{what} is not in\n{done.text}"
    if re.search(PATHS, command.text):
        printed = done.out.splitlines()
        assert printed and all(world.path(line).exists() for line in printed), printed
    if not re.search(DRAWN_AGAIN, command.text):
        said = alike(done.text)
        for line in command.shown.splitlines():
            assert alike(line) in said, f"{command.page} shows\n{line}\nwhich is not in\n{done.text}"


def test_predictions_have_the_columns_that_openface_users_know(world: World) -> None:
    done = world.earlier("zoo.predict model=libreface-r18 ")
    (table,) = (line for line in done.out.splitlines() if line.endswith(".csv"))
    with world.path(table).open() as file:
        rows = list(csv.DictReader(file))
    assert {"AU01_r", "AU01_c", "success", "confidence", "left", "bottom"} <= rows[0].keys()
    drawn = [line for line in done.out.splitlines() if line.endswith(".png")]
    assert len(drawn) == len(rows) == 2


def test_what_is_published_is_one_commit_with_a_card(world: World) -> None:
    world.earlier("zoo.publish ")
    ((repo, commit, _),) = world.hub.commits
    files = world.hub.repos[repo].revisions[commit]
    assert repo == "me/name" and "README.md" in files and any(name.endswith(".onnx") for name in files)


def test_a_ranked_result_is_in_the_hubs_metadata(world: World) -> None:
    (model,) = yaml.safe_load(world.earlier("zoo.leaderboard hub=").out)["model-index"]
    assert model["results"][0]["dataset"]["type"] == "rafdb"


# Which commands there are -----------------------------------------------------------------------------------------


def test_commands_are_found_wherever_they_stand() -> None:
    page = """Say `python -m zoo.fetch
    model=a` or `zoo.check model=b`; `zoo.eval` is a verb, `make style` a target.
<!-- by python benchmarks/one.py; do not edit -->

    python -m zoo.bench suite=cpu plan=true

| run python -m zoo.eval dataset=<their name> root=..., or not | `python -m zoo.bench` times |

```bash
# a comment
python3 -m venv x && x/bin/pip install .   # another
python -m zoo.show
```

prints

```
a table
```

```yaml
python -m zoo.show no=command
```

```console
$ python -m zoo.fetch model=c
one
two

$ cat two
2
```
"""
    assert [(c.text, c.shown) for c in commands_in(page)] == [
        ("python -m zoo.fetch model=a", ""),
        ("python -m zoo.check model=b", ""),
        ("make style", ""),
        ("python benchmarks/one.py", ""),
        ("python -m zoo.bench suite=cpu plan=true", ""),
        ("python -m zoo.eval dataset=<their name> root=...", ""),
        ("python3 -m venv x", ""),
        ("x/bin/pip install .", ""),
        ("python -m zoo.show", "a table"),
        ("python -m zoo.fetch model=c", "one\ntwo"),
        ("cat two", "2"),
    ]


def test_the_pages_have_commands() -> None:
    assert len(COMMANDS) > 70
    texts = {c.text for c in COMMANDS}
    assert "python -m zoo.eval model=hog-ridge dataset=synthface" in texts
    assert {c.page for c in COMMANDS} >= {p.name for p in PAGES} - {"metrics.md", "footguns.md"}
    assert sum(bool(c.shown) for c in COMMANDS) >= 6


def test_the_list_of_what_is_not_run_is_not_longer_than_the_pages_need() -> None:
    for pattern, why, _ in INSTEAD:
        assert why and any(re.fullmatch(pattern, c.text) for c in COMMANDS), pattern


@pytest.mark.parametrize(
    "text", ["python -m zoo.eval model=<anything new>", "python -m zoo.fetch model=… offline=true"]
)
def test_what_nobody_explains_fails(text: str) -> None:
    with pytest.raises(AssertionError, match="does not say what"):
        filled(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("python -m zoo.predict model=hog-ridge input=nobodys.jpg", "does not supply 'nobodys.jpg'"),
        ("curl https://example.org", "does not know how to run this"),
    ],
)
def test_what_nobody_supplies_fails(world: World, text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        world.run(text)
