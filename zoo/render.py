"""``python -m zoo.render``: write a synthetic copy of a dataset, in its owners' layout, to rehearse with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shlex import quote

from zoo.cli import Arguments, Key, natural, one_of, path, positive, put, run_verb, say

LAYOUTS = (
    "disfa", "disfaplus", "bp4d", "bp4dplus", "ckplus", "rafdb", "affectnet-csv", "affectnet-npy", "fer2013",
    "affwild2",
)  # fmt: skip

SUMMARY = "Render synthetic faces in the on-disk layout of a dataset, quirks included, to rehearse with."
EXAMPLE = "python -m zoo.render layout=bp4d root=synthetic-bp4d frames=20"
KEYS = (
    Key("layout", " | ".join(LAYOUTS), one_of(*LAYOUTS), required=True),
    Key("root", "folder to write; it must not hold anything else", path, required=True),
    Key("subjects", "people; else as many as the owners' copy, or the layout's usual number", positive),
    Key("frames", "frames a sequence (videos and sequences)", positive, 40),
    Key("images", "pictures in all (sets of single pictures)", positive),
    Key("seed", "seed: other people, other recordings", natural, 0),
    Key("pixels", "rendered | flat: flat writes tiny grey pictures, for trees of full size", one_of("rendered", "flat"),
        "rendered"),
    Key("workers", "processes; else all cores that the process may use", positive),
)  # fmt: skip


def _body(given: Arguments) -> int:
    from zoo.datasets.synthface import generate

    generate(
        given.layout, given.root, subjects=given.subjects, frames=given.frames, images=given.images, seed=given.seed,
        pixels=given.pixels, workers=given.workers, progress=sys.stderr.isatty(),
    )  # fmt: skip
    put(str(given.root))
    dataset = given.layout.removesuffix("-csv").removesuffix("-npy")
    say(f"now: python -m zoo.check dataset={dataset} root={quote(str(given.root))}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the verb; returns the exit code."""
    return run_verb("render", SUMMARY, KEYS, EXAMPLE, _body, arguments)


if __name__ == "__main__":
    sys.exit(main())
