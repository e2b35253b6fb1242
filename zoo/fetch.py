"""``python -m zoo.fetch``: download and verify a model's weights, after showing their licence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.cli import OFFLINE, REGISTRY, Arguments, Key, boolean, put, run_verb, say, words
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.registry import ModelEntry, Registry

SUMMARY = "Download and verify the weights of models; prints where they are."
EXAMPLE = "python -m zoo.fetch model=libreface-r18"
KEYS = (
    Key("model", "names or globs, with commas", words, required=True),
    Key("accept_license", "true: you accept the licences shown; asked for once, before the first download", boolean),
    Key("show_license", "false: do not show the licences", boolean, True),
    OFFLINE,
    REGISTRY,
)


def _body(given: Arguments) -> int:
    from zoo.registry import load_registry
    from zoo.weights.consent import terms
    from zoo.weights.fetch import fetch_model

    registry = load_registry(given.registry)
    entries = registry.match(given.model, runnable=True)
    if given.show_license:
        for entry in entries:
            first, *rest = terms(entry.licence)
            say(f"{entry.name}: {first}")
            for line in rest:
                say(f"  {line}")
    for entry in entries:
        _consent(entry, registry, given)
    failed: list[ZooError] = []
    for entry in entries:
        try:
            for path in fetch_model(entry, offline=given.offline, base=registry.base(entry.name)):
                put(str(path))
        except ZooError as error:
            if len(entries) == 1:
                raise
            say(f"error: {entry.name}: {error}")  # the others go on
            failed.append(error)
    if failed:
        say(f"{len(failed)} of {len(entries)} models could not be fetched")
    return max((e.exit_code for e in failed), default=0)


def _consent(entry: ModelEntry, registry: Registry, given: Arguments) -> None:
    """Has the licence accepted where something has to be downloaded under it: by the key, or at a terminal.

    Raises:
        LicenseError: It is not accepted.
    """
    from zoo.weights import cached
    from zoo.weights.consent import (
        commercial,
        has_consented,
        needs_consent,
        remember_consent,
        require_consent,
        terms,
    )
    from zoo.weights.store import offline_reason

    licence = entry.licence
    if not needs_consent(licence) or has_consented(licence):
        return
    if given.accept_license:
        remember_consent(licence)
        return
    base = registry.base(entry.name)
    # Without a network nothing is downloaded, and what is on the machine was agreed on when it came there.
    if offline_reason(given.offline) or all(cached(file, base=base) for file in entry.weights):
        return
    refused = given.accept_license is False
    if not refused and sys.stdin.isatty() and sys.stderr.isatty():
        for line in terms(licence) if not given.show_license else []:
            say(line)
        say(f"{commercial(licence)}. Do you accept the terms of {licence.name}? Type yes to go on:")
        if sys.stdin.readline().strip().lower() == "yes":
            remember_consent(licence)
            return
        refused = True
    require_consent(entry, refused=refused)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("fetch", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
