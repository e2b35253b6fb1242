"""Rendered faces in the owners' layouts, read by the owners' readers: a rehearsal that runs anywhere.

A tree is rendered into the cache folder when it is first asked for. Its folder is named by the renderer's own code, so
that a changed renderer never meets an old tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from zoo._util.files import zoo_home
from zoo.datasets.base import Index
from zoo.datasets.disfa import Disfa
from zoo.datasets.rafdb import Rafdb
from zoo.datasets.reader import MARKER, Copy, Reader, Wanted, read_marker
from zoo.errors import DatasetMissingError


def _renderer_version() -> str:
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "synthface").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Rendered(Reader):
    """What synthetic datasets share; comes before a real reader in the bases."""

    layout: str
    obtain = "It is rendered on this machine when root= is not given"
    people = frozenset()
    known: ClassVar[tuple[str, ...]] = ()

    def default_root(self, options: Mapping[str, str], offline: bool | None = None) -> Path:
        """Returns the tree in the cache folder, rendered now if it is not there. It is there whole or not at all."""
        del options, offline
        root = zoo_home() / "synthface" / f"{self.layout}-{_renderer_version()}"
        if not (root / MARKER).is_file():
            from zoo.datasets.synthface import generate

            generate(self.layout, root)
        return root

    def read(self, root: Path, options: Mapping[str, str], scan: Callable[[Copy], None]) -> Index:
        """See :meth:`Reader.read`; a tree without the marker is not synthetic and is refused."""
        if read_marker(root) is None:
            raise DatasetMissingError(
                "this folder holds no synthetic faces",
                where=str(root),
                why=f"there is no {MARKER} in it",
                fix=f"leave root= out to render them, or use dataset={self.layout} for a real copy",
            )
        return super().read(root, options, scan)

    def expected(self, wanted: Wanted) -> int | None:
        """See :meth:`Reader.expected`: trees may be rendered in any size."""
        return None


class SynthFace(Rendered, Disfa):
    """Synthetic faces in DISFA's layout, with AU intensities."""

    name = "synthface"
    title = "SynthFace (synthetic, DISFA's layout)"
    identities = "synthface"
    layout = "disfa"
    people = Disfa.people  # other layouts show other rendered people, DISFA+'s aside


class SynthFaceRafdb(Rendered, Rafdb):
    """Synthetic faces in RAF-DB's layout, with expressions."""

    name = "synthface-rafdb"
    title = "SynthFace (synthetic, RAF-DB's layout)"
    identities = "synthface"
    layout = "rafdb"
