"""Any image-classification dataset on the Hugging Face Hub, pinned by a commit, with a map from its labels to ours.

``dataset=hub:owner/name@<commit>``. Two forms are read, as the Hub's datasets library describes them: *imagefolder* (a
folder a class, in zip archives too, or ``metadata.csv``/``metadata.jsonl`` with ``file_name`` and a label column), and
*parquet* shards. Subsets and splits are those of the dataset card, else those of the file names. Options:

- ``split``: one split, or ``all``; needed where there are several;
- ``subset``: a configuration of the card, where there are several;
- ``folder``: only files below this folder of the repository;
- ``column``: the label column, where it is not called ``label``;
- ``map``: ``angry:anger,7:contempt,misc:ignore``, for labels that are no expression's name. ``labels=file.yaml`` says
  the same as a YAML mapping.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.hub_files import Snapshot, is_archive, newest_commit, unpacked_name
from zoo.datasets.hub_layout import (
    CARD,
    METADATA,
    Plan,
    card_names,
    is_picture,
    plan,
    read_card,
    split_of,
    wanted_split,
)
from zoo.datasets.reader import Copy, Reader, some
from zoo.datasets.shards import LABEL_COLUMNS, Columns, find_columns, labels_of, open_shard
from zoo.errors import DatasetError, UnknownNameError, UsageError
from zoo.registry.labels import EXPRESSIONS, Task, canonical_expression

IGNORE = "ignore"
_OPTIONS = ("repo", "subset", "split", "folder", "column", "map")
_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class Hub(Reader):
    """Reader of image-classification datasets on the Hub.

    Args:
        reference: ``owner/name@<commit>``; empty where the option ``repo`` says it.
    """

    name = "hub"
    title = "a dataset on the Hugging Face Hub"
    tasks: tuple[Task, ...] = ("expression",)
    identities = "hub"
    labels: ClassVar[Mapping[Task, tuple[str, ...]]] = {"expression": EXPRESSIONS}
    options: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(_OPTIONS, ())
    obtain = "Name it by its commit, dataset=hub:owner/name@<40 hex digits>: it is fetched at that commit and kept"

    def __init__(self, reference: str = "") -> None:
        self.reference = reference

    def chosen(self, options: Mapping[str, str]) -> dict[str, str]:
        """Returns the options as given, the label map in one canonical text.

        Raises:
            UsageError: No repository, no commit, or a map that cannot be read.
            UnknownNameError: No such option, or a label in the map that is no expression.
        """
        given = {k: str(v) for k, v in options.items() if v}
        for key in given:
            if key not in (*_OPTIONS, "labels"):
                raise UnknownNameError("option of the dataset hub", key, (*_OPTIONS, "labels"))
        reference = self.reference or given.pop("repo", "")
        if given.get("repo", reference) != reference:
            raise UsageError(f"dataset=hub:{reference}, but repo={given['repo']}", fix="say it once")
        out = {"repo": _pinned(reference)}
        if "labels" in given:
            if "map" in given:
                raise UsageError("both map= and labels= are given", fix="say it once")
            given["map"] = _map_text(_map_file(Path(given.pop("labels")).expanduser()))
        if "map" in given:
            given["map"] = _map_text(read_map(given["map"]))
        if "folder" in given:
            given["folder"] = given["folder"].strip("/")
        return out | given

    def default_root(self, options: Mapping[str, str], offline: bool | None = None) -> Path:
        """Fetches what is wanted of the dataset, and returns the folder that holds it."""
        snapshot = _snapshot(options)
        listing = snapshot.listing(offline)
        cards = [f for f in listing if f.path == CARD]
        snapshot.bring(cards, offline)
        snapshot.bring([*cards, *plan(snapshot, listing, options).files], offline)
        return snapshot.folder

    def scan(self, copy: Copy) -> None:
        """See :meth:`Reader.scan`."""
        snapshot = _snapshot(copy.options)
        listing = snapshot.kept_list()
        if copy.root.resolve() != snapshot.folder.resolve() or listing is None:
            raise UsageError(
                "a dataset of the Hub is fetched by the zoo and needs no root=", where=str(copy.root),
                fix="leave root= (and ZOO_HUB_ROOT) out, or read pictures of your own with dataset=folder",
            )  # fmt: skip
        self.identities = f"hub:{snapshot.repo}"
        card = read_card(snapshot.folder / CARD)
        found = plan(snapshot, listing, copy.options)
        licence = card.get("license")
        if licence:
            text = ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence)
            copy.audit.note("licence", f"the dataset card gives the licence {text}: {snapshot.page}")
        else:
            copy.audit.warning("licence", f"the dataset card gives no licence: ask its owners; {snapshot.page}")
        for file in found.files:
            copy.manifest.digested(file.path, file.hash)
        labels = _Labels(copy, read_map(copy.options.get("map", "")), snapshot)
        if found.shards:
            _read_shards(copy, found, labels, card)
        else:
            _read_pictures(copy, found, labels)
        if not len(copy.columns):
            raise DatasetError(f"{snapshot.repo} holds no labelled picture of what was asked for", where=snapshot.page)
        labels.finish()


# The reference and the label map ----------------------------------------------------------------------------------


def _pinned(reference: str) -> str:
    repo, _, commit = reference.partition("@")
    if not _REPO.fullmatch(repo):
        raise UsageError(f"'hub:{reference}' names no dataset", fix="write dataset=hub:owner/name@<40 hex digits>")
    if re.fullmatch(r"[0-9a-f]{40}", commit):
        return reference
    newest = newest_commit(repo) if commit in ("", "main") else None
    now = f"dataset=hub:{repo}@{newest} is its newest commit; " if newest else ""
    raise UsageError(
        f"'hub:{reference}' is not pinned by a commit",
        why="branches and tags move, and a score must say which pictures it is of",
        fix=f"{now}its commits are at https://huggingface.co/datasets/{repo}/commits/main",
    )


def _snapshot(options: Mapping[str, str]) -> Snapshot:
    repo, _, commit = options["repo"].partition("@")
    return Snapshot(repo, commit)


def read_map(text: str) -> dict[str, str]:
    """Reads a label map: ``angry:anger,misc:ignore``. ``%2C`` and ``%3A`` stand for a comma and a colon in a label.

    Returns:
        Expression, or ``ignore``, by the dataset's label.

    Raises:
        UsageError: It has another form, or names a label twice.
        UnknownNameError: It maps to something that is no expression.
    """
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        label, colon, target = part.rpartition(":")
        if not colon or not label:
            raise UsageError(f"map={text}: '{part}' is not label:expression", fix="map=angry:anger,misc:ignore")
        label = label.strip().replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
        _put(found, label, target.strip(), "map=")
    return found


def _put(found: dict[str, str], label: str, target: str, where: str) -> None:
    expression = IGNORE if target.lower() == IGNORE else canonical_expression(target)
    if expression is None:
        raise UnknownNameError("expression", target, (*EXPRESSIONS, IGNORE), where=f"{where} {label}")
    if found.setdefault(label, expression) != expression:
        raise UsageError(f"the label '{label}' is mapped twice", where=where)


def _map_file(path: Path) -> dict[str, str]:
    from zoo._util.validation import load_yaml

    found: dict[str, str] = {}
    for label, target in load_yaml(path).items():
        _put(found, str(label), str(target), str(path))
    return found


def _map_text(labels: Mapping[str, str]) -> str:
    def quoted(label: str) -> str:
        return label.replace("%", "%25").replace(",", "%2C").replace(":", "%3A")

    return ",".join(f"{quoted(k)}:{v}" for k, v in sorted(labels.items()))


@dataclass
class _Labels:
    """Turns the dataset's labels into expressions, and counts them."""

    copy: Copy
    given: Mapping[str, str]
    snapshot: Snapshot
    counts: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0

    def target(self, label: str) -> str | None:
        """Returns the expression of a label, ``ignore``, or None where nothing says what it is."""
        return self.given.get(label) or canonical_expression(label)

    def classes(self, labels: Sequence[str], places: NDArray[np.int64]) -> NDArray[np.int16]:
        """Returns the class of each row, int16 ``[n]``.

        Args:
            labels: Distinct labels as the dataset has them.
            places: Place of each row's label in them; -1: not labelled.
        """
        self.unlabelled += int((places < 0).sum())
        lookup = np.full(len(labels) + 1, -1, np.int16)
        for i, n in enumerate(np.bincount(places[places >= 0], minlength=len(labels)).tolist()):
            if n:
                self.counts[labels[i]] += n
                target = self.target(labels[i])
                if target and target != IGNORE:
                    lookup[i] = EXPRESSIONS.index(target)
        return lookup[places]  # -1 takes the last one

    def finish(self) -> None:
        """Says what became of the labels.

        Raises:
            UsageError: Nothing says what some of them mean.
        """
        if unknown := [name for name in sorted(self.counts) if self.target(name) is None]:
            quoted = _map_text(dict.fromkeys(unknown, "EXPRESSION"))
            raise UsageError(
                f"{len(unknown)} labels of {self.snapshot.repo} are no expression's name: "
                + some((f"'{n}' ({self.counts[n]} pictures)" for n in unknown), 12),
                where=self.snapshot.page,
                fix=f"map={quoted}  with {', '.join(EXPRESSIONS)} or {IGNORE} for each",
            )
        audit = self.copy.audit
        named = "; ".join(f"{n} -> {self.target(n)} ({self.counts[n]})" for n in sorted(self.counts))
        audit.note("labels", f"{self.snapshot.repo}: {named}")
        if unused := sorted(set(self.given) - set(self.counts)):
            audit.warning("map-unused", f"map= names labels that no picture read here has: {some(unused)}", len(unused))
        if self.unlabelled:
            audit.warning("not-labelled", f"{self.unlabelled} pictures have no label: left out", self.unlabelled)


# Parquet shards ---------------------------------------------------------------------------------------------------


def _read_shards(copy: Copy, found: Plan, labels: _Labels, card: Mapping[str, Any]) -> None:
    columns: Columns | None = None
    for file in found.files:
        shard = open_shard(copy.root / file.path)
        try:
            here = find_columns(shard, file.path, copy.options.get("column"))
            if columns is not None and (here.image, here.label) != (columns.image, columns.label):
                raise DatasetError(
                    f"the shard has the columns {here.image} and {here.label}; others have {columns.image} and "
                    f"{columns.label}",
                    where=file.path,
                )
            columns = here
            names = here.names or card_names(card, here.label, copy.options.get("subset"))
            _read_shard(copy, file.path, found.splits[file.path], shard, here, names, labels)
        finally:
            shard.close()


def _read_shard(
    copy: Copy, path: str, split: str, shard: Any, columns: Columns, names: Sequence[str], labels: _Labels
) -> None:
    row = 0
    for values, rows in labels_of(shard, columns):
        texts = [_label_text(v, names, f"{path}: {columns.label}") for v in values.tolist()]
        places = np.where(np.isin(rows, [i for i, t in enumerate(texts) if t is None]), -1, rows)
        position = np.arange(row, row + len(places), dtype=np.int32)
        copy.columns.add(
            frame=position + 1, position=position, file=path, sequence=path, split=split,
            labels={"expression": labels.classes([t or "" for t in texts], places)},
        )  # fmt: skip
        row += len(places)


def _label_text(value: Any, names: Sequence[str], where: str) -> str | None:
    """Returns a label by name; None for the -1 that stands for a label that is withheld."""
    if not isinstance(value, int):
        return str(value).strip() or None
    if value == -1:
        return None
    if names and not 0 <= value < len(names):
        raise DatasetError(
            f"the label {value} is none of the {len(names)} classes that the dataset declares", where=where,
            why=f"0 to {len(names) - 1} are {', '.join(names)}",
        )  # fmt: skip
    return names[value] if names else str(value)


# Pictures in folders and archives ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """One picture on this machine: path below the root, size, split."""

    path: str
    size: int
    split: str


def _read_pictures(copy: Copy, found: Plan, labels: _Labels) -> None:
    pictures: list[_Found] = []
    tables: list[str] = []
    for file in found.files:
        if is_archive(file.path):
            _look_into(copy, unpacked_name(file.path), found, pictures, tables)
        elif is_picture(file.path):
            pictures.append(_Found(file.path, file.size, found.splits[file.path]))
        else:
            tables.append(file.path)
    wanted = wanted_split(copy.options.get("split"), {p.split for p in pictures}, labels.snapshot)
    pictures = sorted((p for p in pictures if wanted in (None, p.split)), key=lambda p: p.path)
    said = _labels_in_tables(copy, tables, copy.options.get("column"))
    by_path: list[str | None] = [said.get(p.path) for p in pictures] if said else [_class_of(p.path) for p in pictures]
    distinct = sorted({x for x in by_path if x is not None})
    place = {x: i for i, x in enumerate(distinct)}
    places = np.array([-1 if x is None else place[x] for x in by_path], np.int64)
    classes = labels.classes(distinct, places)
    copy.damaged_images("the dataset", [p.path for p in pictures if not p.size])
    sequences = [PurePosixPath(p.path).parent.as_posix() for p in pictures]
    frames = np.arange(1, len(pictures) + 1, dtype=np.int32)
    copy.columns.add(
        frame=frames, file=[p.path for p in pictures], split=[p.split for p in pictures], sequence=sequences,
        labels={"expression": classes},
    )  # fmt: skip


def _look_into(copy: Copy, folder: str, found: Plan, pictures: list[_Found], tables: list[str]) -> None:
    """Adds what an unpacked archive holds; its own folders name splits where the archive's name does not."""
    archive = folder.removesuffix("!")
    for path in sorted((copy.root / folder).rglob("*")):
        if not path.is_file():
            continue
        name = copy.name(path)
        if is_picture(name):
            split = found.splits[archive] or split_of(PurePosixPath(name).relative_to(folder).as_posix(), "")
            pictures.append(_Found(name, path.stat().st_size, split))
        elif path.name in METADATA:
            tables.append(name)


def _class_of(path: str) -> str | None:
    """Returns the class that a picture's folder names; at the top of an archive, the archive's name."""
    name = PurePosixPath(path).parent.name
    return PurePosixPath(name.removesuffix("!")).stem if name.endswith("!") else name or None


def _labels_in_tables(copy: Copy, tables: Iterable[str], column: str | None) -> dict[str, str]:
    """Returns the labels of metadata files by picture; empty where they hold no label column."""
    found: dict[str, str] = {}
    seen: list[str] = []
    for table in tables:
        rows = list(_rows(copy.root / table, table))
        names = list(dict.fromkeys(k for row in rows for k in row))
        seen += names
        label = column if column in names else next((n for n in LABEL_COLUMNS if column is None and n in names), None)
        if label is None:
            continue
        for number, row in enumerate(rows, 2 if table.endswith(".csv") else 1):
            name = row.get("file_name")
            if not isinstance(name, str) or not name:
                raise DatasetError("the row names no file (file_name)", where=f"{table}:{number}")
            path = PurePosixPath(table).parent / name
            value = row.get(label)
            if isinstance(value, bool | list | Mapping | float):
                raise DatasetError(f"{label} = {json.dumps(value)} is no label", where=f"{table}:{number}")
            if value is not None and str(value).strip():
                found[path.as_posix()] = str(value).strip()
    if column is not None and column not in seen:
        raise UsageError(
            f"no metadata file has a column '{column}'",
            why=f"the columns are {', '.join(dict.fromkeys(seen)) or 'none'}",
        )
    return found


def _rows(path: Path, name: str) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if name.endswith(".csv"):
            for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
                if None in row or None in row.values():
                    raise DatasetError("a row has more or fewer cells than the header", where=name)
                yield row
            return
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DatasetError("the line is no JSON object", where=f"{name}:{number}")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
        raise DatasetError("the metadata file cannot be read", where=name, why=str(error)) from None
