"""Weights files: where they can be had, checked by hash before anything opens them, and kept in a cache.

Example:
    >>> from zoo.weights import cached, locate
    >>> path = locate(entry.weights[0], entry=entry)  # from the cache, or from its first good source
"""

from __future__ import annotations

from zoo.weights.fetch import fetch_model
from zoo.weights.store import FileStatus, cache_dir, cached, locate, status

__all__ = ["FileStatus", "cache_dir", "cached", "fetch_model", "locate", "status"]
