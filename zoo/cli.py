"""The command line: ``python -m zoo.<verb> key=value ...``, or ``zoo <verb> key=value ...``.

One grammar for every verb: ``key=value`` pairs, lists with commas, ``config=run.yaml`` for long ones (the command
line wins). An unknown key is refused with the nearest valid one. Data goes to stdout, progress and advice to stderr.
Nothing heavy is imported here, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from zoo.errors import UnknownNameError, UsageError, ZooError

VERBS: dict[str, str] = {
    "eval": "score models on a dataset under a protocol",
    "prepare": "make the crops of a dataset once, for all models that want the same",
    "predict": "run a model on your own pictures and videos",
    "show": "list the models, or show one in full",
    "check": "check a dataset copy, a model or the registry",
    "export": "write a model as a file for OpenVINO or ONNX Runtime, also in int8",
    "fetch": "download and verify a model's weights",
    "publish": "give a model a home on the Hugging Face Hub",
    "score": "score stored predictions again, or CSV files of OpenFace",
    "fit": "fit a small head on a published network, from your copy of a dataset",
    "render": "write a synthetic copy of a dataset, to rehearse with",
    "bench": "measure latency and throughput by a suite",
    "leaderboard": "draw the boards from the records",
    "compare": "say which of two models is better, and how sure that is",
    "recommend": "find the models that meet your constraints",
}

_GO_ON = frozenset({"eval", "prepare", "fetch", "bench"})
"""Verbs that take up an interrupted run where it stopped."""

_MENDS = {
    errno.ENOSPC: "free some space there, or name a folder on another disk",
    errno.EACCES: "mend its permissions, or name a folder that you may write to",
    errno.EROFS: "name a folder that you may write to",
    errno.EEXIST: "a file is in the way: name another folder",
    errno.ENOTDIR: "a file is in the way: name another folder",
    errno.EMFILE: "let the program open more files at once, as with: ulimit -n 4096",
}
"""What mends the usual errors of the file system."""

Kind = Callable[[str], Any]


def boolean(text: str) -> bool:
    """Reads ``true`` or ``false`` (also ``1/0``, ``yes/no``, ``on/off``)."""
    value = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.lower() not in value:
        raise ValueError("write true or false")
    return value[text.lower()]


def positive(text: str) -> int:
    """Reads a whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("write a whole number above 0")
    return int(text)


def natural(text: str) -> int:
    """Reads a whole number, 0 or above."""
    if not text.isascii() or not text.isdigit():
        raise ValueError("write a whole number, 0 or above")
    return int(text)


def path(text: str) -> Path:
    """Reads a path; ``~`` is the home folder."""
    if not text:
        raise ValueError("write a path")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~somebody
        raise ValueError("there is no such user; write the whole path") from None


def paths(text: str) -> tuple[Path, ...]:
    """Reads paths with commas; ``*``, ``?`` and ``[...]`` are filled in here, for shells leave ``key=*`` alone."""
    found: list[Path] = []
    for word in words(text):
        one = path(word)  # a file may really be called a[1].jpg
        filled = [] if os.path.lexists(one) else sorted(glob(str(one)))  # noqa: PTH207 - absolute too
        found += map(Path, filled or [str(one)])
    return tuple(found)


def words(text: str) -> tuple[str, ...]:
    """Reads a list: ``a,b,c``."""
    parts = tuple(p.strip() for p in text.split(",") if p.strip())
    if not parts:
        raise ValueError("write one name, or several with commas")
    return parts


def one_of(*choices: str) -> Kind:
    """Makes a reader of one word out of a closed list."""

    def read(text: str) -> str:
        if text not in choices:
            raise UnknownNameError("value", text, choices)
        return text

    read.__doc__ = "|".join(choices)
    return read


def some_of(*choices: str) -> Kind:
    """Makes a reader of a list out of a closed one."""
    one = one_of(*choices)

    def read(text: str) -> tuple[str, ...]:
        return tuple(one(word) for word in words(text))

    return read


@dataclass(frozen=True)
class Key:
    """One key of a verb.

    Attributes:
        name: As it is typed.
        help: One line.
        kind: Reads the text; raises ValueError with what to write instead.
        default: Value when the key is not given.
        required: Whether it has to be given.
    """

    name: str
    help: str
    kind: Kind = str
    default: Any = None
    required: bool = False


FORMAT = Key("format", "table | json | csv | md: what goes to stdout", one_of("table", "json", "csv", "md"), "table")
TASKS = ("au-intensity", "au-occurrence", "expression", "valence-arousal")
OF_TASKS = Key("tasks", f"{', '.join(TASKS)}; else all of the model's", some_of(*TASKS), ())
REGISTRY = Key("registry", "your own registry files, added to the zoo's (the last one wins)", words, ())
# How a dataset is read; each dataset has some of them and refuses the others.
READING = (
    Key("camera", "DISFA: left | right", one_of("left", "right")),
    Key("images", "RAF-DB: aligned | original", one_of("aligned", "original")),
    Key("challenge", "Aff-Wild2: expr | au | va | mtl", one_of("expr", "au", "va", "mtl")),
    Key("rule", "FER+: majority | argmax", one_of("majority", "argmax")),
    Key("splits", "AffectNet: validation | all: what is looked at", one_of("validation", "all")),
    Key("form", "AffectNet: auto | csv | npy", one_of("auto", "csv", "npy")),
    Key("split", "hub: the split to read, or all"),
    Key("subset", "hub: the subset (configuration) of the dataset card"),
    Key("folder", "hub: only files below this folder of the repository"),
    Key("column", "hub: the label column, where it is not called label"),
    Key("map", "hub: expressions by label, angry:anger,misc:ignore"),
    Key("labels", "hub: the same as a YAML file of label: expression", path),
)
OFFLINE = Key("offline", "true: use the cache only, make no request (also ZOO_OFFLINE=1)", boolean)


class Arguments(dict[str, Any]):
    """The values of a verb's keys, by attribute."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def usage(verb: str, summary: str, keys: Sequence[Key], example: str) -> str:
    """Returns the help text of a verb."""
    width = max(len(k.name) for k in keys) + 1
    lines = [summary, "", f"usage: python -m zoo.{verb} key=value ...", f"       {example}", "", "keys:"]
    for key in keys:
        default = f" [{_text(key.default)}]" if key.default not in (None, ()) else ""
        lines.append(f"  {key.name + '=':<{width}}  {key.help}{' (required)' if key.required else ''}{default}")
    lines += [f"  {'config=':<{width}}  a YAML file with any of these keys; the command line wins"]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _config(file: Path) -> dict[str, str]:
    import yaml

    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - strings only
    except FileNotFoundError:
        raise UsageError(f"config file '{file}' does not exist") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"config file '{file}' cannot be read", why=" ".join(str(error).split())) from None
    if not isinstance(data, dict):
        raise UsageError(f"config file '{file}' does not hold key: value lines")
    return {str(k): _text(v) for k, v in data.items()}


def parse(verb: str, keys: Sequence[Key], arguments: Sequence[str]) -> Arguments:
    """Reads ``key=value`` arguments.

    Raises:
        UsageError: A word without ``=``, a key given twice, a missing key or a value of the wrong kind.
        UnknownNameError: A key that the verb does not have.
    """
    known = {k.name: k for k in keys}
    given: dict[str, str] = {}
    for word in arguments:
        name, equals, text = word.partition("=")
        if not equals:
            near = word.lstrip("-")
            fix = f"write {near}=..." if near in known else f"see python -m zoo.{verb} --help"
            raise UsageError(f"'{word}' is not key=value", fix=fix)
        if name in given:
            raise UsageError(f"the key '{name}' is given twice", fix="several values go into one key, with commas")
        given[name] = text
    if "config" in given:
        try:
            file = path(given.pop("config"))
        except ValueError as error:
            raise UsageError("config=: not a valid value", fix=str(error)) from None
        given = {**_config(file), **given}
    result = Arguments({k.name: k.default for k in keys})
    for name, text in given.items():
        if name not in known:
            raise UnknownNameError("key", name, [*known, "config"], where=f"zoo.{verb}")
        try:
            result[name] = known[name].kind(text)
        except UnknownNameError as error:
            raise UsageError(f"{name}={text}: unknown value", fix=error.fix) from None
        except ValueError as error:
            raise UsageError(f"{name}={text}: not a valid value", fix=str(error)) from None
    missing = [k.name for k in keys if k.required and k.name not in given]
    if missing:
        raise UsageError(
            f"zoo.{verb} needs {', '.join(m + '=' for m in missing)}", fix=f"see python -m zoo.{verb} --help"
        )
    return result


def say(text: str) -> None:
    """Writes a line for people to stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def put(text: str) -> None:
    """Writes data to stdout."""
    print(text, flush=True)  # noqa: T201


def put_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a table for programs to stdout: one value a cell, floats in full, ``true`` and ``false``, empty for None.

    Args:
        columns: Names, in order.
        rows: Column -> value; a column that a row lacks is empty.

    Raises:
        ValueError: A row has a value of no column.
    """
    import csv

    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: _text(v) if isinstance(v, bool) else v for k, v in row.items()})
    sys.stdout.flush()


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows what the zoo warns of as a line for people, without the place in the code."""
    usual = warnings.formatwarning

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        ours = category is UserWarning and Path(filename).is_relative_to(Path(__file__).parent)
        return f"warning: {message}\n" if ours else usual(message, category, filename, lineno, line)

    with warnings.catch_warnings():
        # Pillow's, of pictures that zoo.faces.decode refuses itself, with the file's name.
        warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
        warnings.formatwarning = plain
        try:
            yield
        finally:
            warnings.formatwarning = usual


def _without_reader() -> int:
    """Ends quietly when the reader of stdout has gone, as in ``| head``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def run_verb(
    verb: str,
    summary: str,
    keys: Sequence[Key],
    example: str,
    body: Callable[[Arguments], int | None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Runs a verb and returns its exit code; what a user can mend becomes a message, never a traceback."""
    words_given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if any(w in ("-h", "--help", "help") for w in words_given):
            put(usage(verb, summary, keys, example))
            return 0
        with _plain_warnings():
            return body(parse(verb, keys, words_given)) or 0
    except ZooError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        onward = "what was finished is kept, and the same command goes on from there"
        say(f"interrupted; {onward if verb in _GO_ON else 'no file is left half-written'}")
        return 130
    except BrokenPipeError:
        return _without_reader()
    except OSError as error:  # a folder that may not be written to, a full disk
        if error.errno is None:
            raise
        what = f"'{error.filename}' cannot be used" if error.filename else "a file cannot be read or written"
        say(f"error: {ZooError(what, why=error.strerror, fix=_MENDS.get(error.errno))}")
        return ZooError.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the ``zoo`` script: ``zoo <verb> key=value ...``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        lines = [
            "zoo: model zoo and benchmark harness for facial expression analysis",
            "",
            "usage: zoo VERB key=value ...",
        ]
        lines += ["       zoo VERB --help", "", "verbs:"]
        lines += [f"  {name:<12} {text}" for name, text in VERBS.items()]
        try:
            put("\n".join(lines))
        except BrokenPipeError:
            return _without_reader()
        return 0
    if given[0] in ("-V", "--version"):
        from zoo._version import __version__

        put(__version__)
        return 0
    verb = given[0]
    if verb not in VERBS:
        say(f"error: {UnknownNameError('verb', verb, VERBS)}")
        return UsageError.exit_code
    from importlib import import_module

    code: int = import_module(f"zoo.{verb}").main(given[1:])
    return code
