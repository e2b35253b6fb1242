"""Every error that the zoo raises for a reason that a user can act on.

An error says what went wrong, where (file, registry key), why, and what mends it. The command line prints it
without a traceback and leaves with the error's exit code: 1 failed, 2 usage, 3 data or licence missing.
"""

from __future__ import annotations

from collections.abc import Iterable


class ZooError(Exception):
    """Root of the tree.

    Args:
        what: One line: what went wrong.
        where: File, line, registry key or address.
        why: The cause, when it is known.
        fix: The command or action that mends it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, why: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __str__(self) -> str:
        lines = [self.what]
        lines += [f"  {name}: {text}" for name in ("where", "why", "fix") if (text := getattr(self, name))]
        return "\n".join(lines)


class UsageError(ZooError):
    """The command line or a function's arguments do not make sense."""

    exit_code = 2


class UnknownNameError(UsageError, KeyError):
    """A name that is not in a closed list; the nearest valid ones are suggested.

    Args:
        kind: What the name should be (``model``, ``dataset``, ``key`` ...).
        name: The name as given.
        known: The valid names.
        where: Where they are defined.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str | None = None) -> None:
        from zoo._util.text import nearest

        self.name, self.known = name, sorted(known)
        close = nearest(name, self.known)
        if close:
            fix = "did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
        else:
            shown = self.known[:12]
            fix = "use one of: " + ", ".join(shown) + (", ..." if len(self.known) > len(shown) else "")
        ZooError.__init__(self, f"unknown {kind} '{name}'", where=where, fix=fix)


class RegistryError(ZooError):
    """A registry file, protocol file or entry that is not valid."""


class ContractError(ZooError):
    """A model file that does not do what its registry entry declares (shape, name, label order)."""


class DependencyError(ZooError, ImportError):
    """An optional package is not installed; ``fix`` holds the command that installs it."""


class RuntimeUnavailableError(ZooError):
    """The runtime, device, provider or precision asked for cannot be had; nothing else is tried instead."""


class MissingError(ZooError):
    """Data, weights or a licence that the user has to bring."""

    exit_code = 3


class DatasetMissingError(MissingError, FileNotFoundError):
    """No dataset root, or a root that holds no such dataset."""


class WeightsMissingError(MissingError, FileNotFoundError):
    """A weights file that is neither in the cache nor to be had from any of its sources."""


class LicenseError(MissingError, PermissionError):
    """A licence or an access request that the user has to accept first."""


class DatasetError(ZooError):
    """A dataset that is present but not as its owners ship it."""


class ImageError(ZooError):
    """An image or a video that cannot be decoded."""


class WeightsError(ZooError):
    """A weights file that could not be fetched or must not be used."""


class HashMismatchError(WeightsError):
    """Bytes whose hash or size is not the registry's."""


class UnsafeFileError(WeightsError):
    """A file that can only be opened by executing what it holds (a pickle)."""


class RecordError(ZooError):
    """A result record, prediction file or board that does not hold together."""
