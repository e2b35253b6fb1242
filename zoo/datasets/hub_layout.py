"""What is read of a dataset repository: which files, of which split, by its card or by the names of its files.

The rules are those of the Hub's datasets library
(https://huggingface.co/docs/hub/datasets-data-files-configuration): the card's ``configs``, else the words train,
validation and test in the names of folders, shards and archives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zoo.datasets.hub_files import Listed, Snapshot, is_archive
from zoo.datasets.reader import IMAGE_SUFFIXES, some
from zoo.errors import DatasetError, UnknownNameError, UsageError

ALL = "all"
CARD = "README.md"
METADATA = ("metadata.csv", "metadata.jsonl")
_SPLIT_WORDS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
_SHARD = re.compile(r"([\w.]+)-\d{5}-of-\d{5}(?:-\w+)?\.parquet")


@dataclass(frozen=True)
class Plan:
    """What is read of a repository.

    Attributes:
        files: Every file that is needed.
        splits: Split of each file by its path; an empty string where the pictures inside say it themselves.
        shards: Whether they are parquet shards.
    """

    files: tuple[Listed, ...]
    splits: Mapping[str, str]
    shards: bool


def plan(snapshot: Snapshot, listing: Sequence[Listed], options: Mapping[str, str]) -> Plan:
    """Decides what is read of a repository, from its list of files and its card.

    Raises:
        UsageError: The subset or split is not said, or not there.
        DatasetError: The repository holds nothing that is read here.
    """
    folder = options.get("folder", "")
    card = read_card(snapshot.folder / CARD)
    inside = [f for f in listing if not folder or f.path.startswith(f"{folder}/")]
    patterns = _subset(card, options.get("subset"), snapshot)
    splits: dict[str, str] = {}
    for file in inside:
        if patterns is None:
            splits[file.path] = split_of(file.path, folder)
        elif (split := next((s for s, p in patterns if p.fullmatch(file.path)), None)) is not None:
            splits[file.path] = split
    usable = [f for f in inside if f.path in splits]
    shards = [f for f in usable if f.path.lower().endswith(".parquet")]
    pictures = [f for f in usable if is_archive(f.path) or is_picture(f.path)]
    tables = [f for f in inside if PurePosixPath(f.path).name in METADATA]
    if shards and pictures and patterns is None:
        raise UsageError(
            f"{snapshot.repo} holds parquet shards and pictures: which are the dataset?", where=snapshot.page,
            why=f"shards: {some(f.path for f in shards)}; pictures: {some(f.path for f in pictures)}",
            fix="folder=<folder of the repository>",
        )  # fmt: skip
    chosen = shards or pictures
    if not chosen:
        kinds = Counter(PurePosixPath(f.path).suffix or f.path for f in inside)
        raise DatasetError(
            f"{snapshot.repo} holds no pictures, zip archives or parquet shards" + (f" in {folder}" if folder else ""),
            where=snapshot.page,
            why=f"it holds {some(f'{n} x {kind}' for kind, n in kinds.most_common())}" if kinds else "it is empty",
            fix="other forms (tar, arrow, loading scripts) are not read; download it, and use dataset=folder",
        )
    # What an archive holds is known when it is here: its own folders may name the splits.
    closed = {f.path for f in chosen if is_archive(f.path) and not splits[f.path]}
    wanted = wanted_split(options.get("split"), {splits[f.path] for f in chosen}, snapshot, sure=not closed)
    chosen = [f for f in chosen if wanted in (None, splits[f.path]) or f.path in closed]
    return Plan(tuple(chosen if shards else [*chosen, *tables]), splits, bool(shards))


def wanted_split(asked: str | None, found: set[str], snapshot: Snapshot, *, sure: bool = True) -> str | None:
    """Returns the split that is wanted, or None for all.

    Args:
        asked: The option.
        found: The splits that there are; an empty string where pictures are in none.
        snapshot: The dataset, for errors.
        sure: Whether there are no others.

    Raises:
        UsageError: There are several, and none is asked for.
        UnknownNameError: The one that is asked for is not there.
    """
    named = sorted(found - {""})
    if asked is None:
        if len(named) > 1:
            raise UsageError(
                f"{snapshot.repo} has several splits: {', '.join(named)}", where=snapshot.page,
                fix=f"split={'test' if 'test' in named else named[0]}, or split={ALL}",
            )  # fmt: skip
        return None
    if asked == ALL:
        return None
    wanted = asked if asked in found else _SPLIT_WORDS.get(asked.lower(), asked)
    if wanted not in found and sure:
        raise UnknownNameError(f"split of {snapshot.repo}", asked, [*named, ALL], where=snapshot.page)
    return wanted


def split_of(path: str, folder: str) -> str:
    """Returns the split that a path names: by its folders, else, for a shard or archive, by its file name."""
    inside = PurePosixPath(path).relative_to(folder) if folder else PurePosixPath(path)
    names = list(inside.parts[:-1])
    if not is_picture(path):
        if match := _SHARD.fullmatch(inside.name):
            return _SPLIT_WORDS.get(match[1].lower(), match[1])
        names.append(inside.stem)
    for name in names:
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in _SPLIT_WORDS:
                return _SPLIT_WORDS[word]
    return ""


def is_picture(path: str) -> bool:
    """Whether a file is a picture, by its name."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def _subset(card: Mapping[str, Any], asked: str | None, snapshot: Snapshot) -> list[tuple[str, re.Pattern[str]]] | None:
    """Returns (split, pattern of paths) of a subset that the card describes; None where it describes none."""
    configs = [c for c in as_list(card.get("configs")) if isinstance(c, Mapping) and "data_files" in c]
    names = [str(c.get("config_name", "default")) for c in configs]
    if asked is not None and asked not in names:
        raise UnknownNameError(f"subset of {snapshot.repo}", asked, names or ["(none)"], where=snapshot.page)
    if not configs:
        return None
    defaults = [n for n, c in zip(names, configs, strict=True) if c.get("default") is True or n == "default"]
    name = asked or (defaults or names)[0]
    if asked is None and not defaults and len(names) > 1:
        raise UsageError(
            f"{snapshot.repo} has several subsets: {', '.join(names)}", where=snapshot.page, fix=f"subset={names[0]}"
        )
    return list(_patterns(configs[names.index(name)]["data_files"]))


def _patterns(data_files: Any) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yields the patterns of a card's ``data_files``: a path, paths, or ``{split: .., path: ..}`` each."""
    if isinstance(data_files, Mapping):
        data_files = [{"split": k, "path": v} for k, v in data_files.items()]
    for item in as_list(data_files):
        split, paths = (str(item.get("split", "train")), item.get("path")) if isinstance(item, Mapping) else ("", item)
        for path in as_list(paths):
            yield _SPLIT_WORDS.get(split.lower(), split), _glob(str(path).removeprefix("./"))


def _glob(pattern: str) -> re.Pattern[str]:
    """Makes a regular expression of a path pattern, ``**`` for any folders."""
    out = ""
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", pattern, re.DOTALL):
        out += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(token) or (
            token if token.startswith("[") and len(token) > 1 else re.escape(token)
        )
    try:
        return re.compile(out)
    except re.error:
        return re.compile(re.escape(pattern))


def as_list(value: Any) -> list[Any]:
    """Returns a list as it is, one thing as a list of it, and nothing as an empty one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def read_card(path: Path) -> dict[str, Any]:
    """Returns the YAML head of a dataset card; empty where there is none that can be read."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    try:
        found = yaml.safe_load(match[1]) if match else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def card_names(card: Mapping[str, Any], column: str, subset: str | None) -> tuple[str, ...]:
    """Returns the class names that the card gives for a column; empty where it gives none."""
    for info in as_list(card.get("dataset_info")):
        if not isinstance(info, Mapping) or (subset and info.get("config_name", subset) != subset):
            continue
        for feature in as_list(info.get("features")):
            if isinstance(feature, Mapping) and feature.get("name") == column:
                kind = feature.get("dtype")
                names = (kind.get("class_label") or {}).get("names") if isinstance(kind, Mapping) else None
                if isinstance(names, Mapping):
                    return tuple(str(n) for _, n in sorted(names.items(), key=lambda pair: int(pair[0])))
                if isinstance(names, list):
                    return tuple(map(str, names))
    return ()
