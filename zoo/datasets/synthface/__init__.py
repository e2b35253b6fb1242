"""SynthFace: rendered faces whose action units are known, in the on-disk layouts of the licensed datasets.

    >>> from zoo.datasets.synthface import generate
    >>> generate("disfa", "/tmp/disfa-rehearsal")  # doctest: +SKIP

Nothing here is a photograph; scores on these trees say that a pipeline works, not how good a model is.
"""

from __future__ import annotations

from zoo.datasets.synthface.sheet import contact_sheet
from zoo.datasets.synthface.tree import MARKER, NAMESPACE, VERSION, generate, layouts

__all__ = ["MARKER", "NAMESPACE", "VERSION", "contact_sheet", "generate", "layouts"]
