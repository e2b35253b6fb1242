"""The static site: plain pages that open from a file as well as from a server, and are readable without scripts."""

from __future__ import annotations

from zoo.boards.site.build import site_files

__all__ = ["site_files"]
