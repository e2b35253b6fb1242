"""timm's Swin Transformer for checkpoints under the names of Microsoft's own code (microsoft/Swin-Transformer).

The two compute the same. Microsoft's keeps the merging of patches at the end of a stage, timm's at the start of the
next one; Microsoft's stores two tables that follow from the window's size, timm's makes them.
"""

from __future__ import annotations

from torch import nn


def microsoft_names(module: nn.Module, prefix: str) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Returns what :func:`zoo.models.renaming.renamed` needs: published names to ours, and unused names with shapes.

    Args:
        module: The whole network.
        prefix: Where it holds the Swin Transformer, such as ``encoder``.
    """
    names = {}
    unused = {}
    for ours in module.state_dict():
        parts = ours.split(".")
        if parts[0] == prefix and parts[1] == "layers" and parts[3] == "downsample":
            parts[2] = str(int(parts[2]) - 1)
        names[".".join(parts)] = ours
    for ours, buffer in module.named_buffers():
        if ours not in names.values() and ours.startswith(f"{prefix}."):
            unused[ours] = tuple(buffer.shape)
    return names, unused
