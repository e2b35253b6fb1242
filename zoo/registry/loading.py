"""Reading registry files, and finding entries in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from zoo._util.files import resource
from zoo._util.validation import explain, load_yaml
from zoo.errors import RegistryError, UnknownNameError, UsageError
from zoo.registry.labels import Task
from zoo.registry.schema import ModelEntry, RegistryFile


@dataclass(frozen=True)
class Registry:
    """Entries by name, each with the file that it came from."""

    entries: dict[str, ModelEntry]
    files: dict[str, Path] = field(default_factory=dict)
    """Entry name -> its registry file."""

    def get(self, name: str) -> ModelEntry:
        """Returns an entry.

        Raises:
            UnknownNameError: There is none of that name; near names are suggested.
        """
        if name not in self.entries:
            raise UnknownNameError("model", name, self.entries, where="registry.yaml")
        return self.entries[name]

    def match(self, patterns: Sequence[str], *, runnable: bool = False) -> list[ModelEntry]:
        """Returns the entries that names or globs (``libreface-*``) select, in the registry's order.

        Args:
            patterns: Names and globs.
            runnable: Leave out what a glob takes in and cannot be run here; what is named by its name stays.

        Raises:
            UnknownNameError: A pattern selects nothing.
            UsageError: Nothing of what they select can be run here.
        """
        chosen: set[str] = set()
        for pattern in patterns:
            names = [n for n in self.entries if fnmatchcase(n, pattern)]
            if not names:
                raise UnknownNameError("model", pattern, self.entries, where="registry.yaml")
            chosen.update(names)
        found = [e for n, e in self.entries.items() if n in chosen]
        if not runnable:
            return found
        if kept := [e for e in found if e.runnable or e.name in patterns]:
            return kept
        shown = ", ".join(e.name for e in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"none of {shown} can be run here", fix="python -m zoo.show kind=runnable")

    def base(self, name: str) -> Path:
        """Returns the folder that ``path:`` sources of an entry are relative to."""
        return self.files[name].parent if name in self.files else Path.cwd()


def read_registry_file(path: Path) -> RegistryFile:
    """Reads and validates one registry file.

    Raises:
        RegistryError: Not there, not YAML, a key given twice, or not valid; names the file, the entry and the key.
    """
    data = load_yaml(path)
    try:
        return RegistryFile.model_validate(data)
    except ValidationError as error:
        raise explain(error, str(path), data) from None


def _plugin_files() -> Iterable[Path]:
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group="zoo.registries"), key=lambda p: p.name):
        try:
            yield Path(point.load()())  # a callable that returns the path of a registry file
        except Exception as error:  # whatever a package of somebody else's raises
            raise RegistryError(
                f"the registry '{point.name}' of an installed package cannot be had", where=point.value,
                why=f"{type(error).__name__}: {error}", fix="mend the package, or uninstall it",
            ) from error  # fmt: skip


_State = tuple[str, int, int]


def _state(file: str | Path) -> _State:
    """Returns a file's place, time of change and size: when one of them is another, it is read again."""
    try:
        path = Path(file).expanduser().absolute()
        stat = path.stat()
    except RuntimeError:  # ~somebody
        return str(file), 0, 0
    except OSError:  # said when it is read
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=8)
def _load(files: tuple[_State, ...]) -> Registry:
    entries: dict[str, ModelEntry] = {}
    origins: dict[str, Path] = {}
    ours = resource("registry.yaml")
    for path in (ours, *_plugin_files(), *(Path(name) for name, _, _ in files)):
        for entry in read_registry_file(path).models:
            if path != ours:
                entry.read_from(path)
            entries[entry.name], origins[entry.name] = entry, path.resolve()
    return Registry(entries, origins)


def load_registry(extra: Sequence[str | Path] = ()) -> Registry:
    """Loads the zoo's registry and the user's additions.

    Args:
        extra: More registry files, the last one winning.

    Raises:
        RegistryError: A file is not valid.
    """
    named = [p for p in os.environ.get("ZOO_REGISTRY", "").split(os.pathsep) if p]
    return _load(tuple(map(_state, [*named, *extra])))


def get_model(name: str) -> ModelEntry:
    """Returns the entry of a model by its name."""
    return load_registry().get(name)


def list_models(pattern: str = "*", *, task: Task | None = None, runnable: bool = False) -> list[str]:
    """Returns the names of models, in the registry's order.

    Args:
        pattern: A glob on the name.
        task: Only models with this task.
        runnable: Leave out entries that cannot be run here.
    """
    return [
        entry.name
        for entry in load_registry().entries.values()
        if fnmatchcase(entry.name, pattern)
        and (task is None or task in entry.tasks)
        and (entry.runnable or not runnable)
    ]
