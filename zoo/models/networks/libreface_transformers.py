"""LibreFace's two larger networks for AU intensity on DISFA, as released on its branch ``export_to_onnx``.

Written from the state dicts that ``AU_Recognition/models/swin.py`` and ``mae.py`` of ihp-lab/LibreFace (commit
742274b) make. Both flatten all tokens into one vector in front of the head, so the size of the input is fixed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from zoo.models.networks.microsoft_swin import microsoft_names

DEPTHS = (2, 2, 6, 2)
"""Blocks of Swin-Tiny's four stages."""

TOKENS = 196
"""14 x 14 patches of 16 pixels."""
WIDTH, DEPTH, HEADS = 768, 12, 12
DECODER = (384, 4, 6)
"""Width, depth and heads of the decoder that pre-training leaves in the checkpoint."""


class SwinIntensity(nn.Module):
    """Swin-Tiny (timm's, without its pooling) and a head over all 49 tokens.

    Args:
        name: Name of the output.
        columns: Its columns.
    """

    def __init__(self, name: str, columns: int) -> None:
        super().__init__()
        from zoo.models._timm import import_timm

        self.name = name
        self.encoder: nn.Module = import_timm().create_model(
            "swin_tiny_patch4_window7_224", pretrained=False, num_classes=0, global_pool="", depths=DEPTHS
        )
        self.classifier = nn.Sequential(
            nn.Linear(49 * 768, 512), nn.ReLU(), nn.BatchNorm1d(512), nn.Dropout(0.1), nn.Linear(512, columns)
        )

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps normalised RGB ``[n, 3, 224, 224]`` to ``[n, columns]``; no activation."""
        return {self.name: self.classifier(self.encoder(x).flatten(1))}


def swin_names(module: SwinIntensity) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Returns what :func:`zoo.models.renaming.renamed` needs: the checkpoint has Microsoft's names.

    It also has Swin's classifier for ImageNet, which LibreFace does not run.
    """
    names, unused = microsoft_names(module, "encoder")
    return names, {**unused, "encoder.head.weight": (1000, 768), "encoder.head.bias": (1000,)}


class Attention(nn.Module):
    """Attention whose keys have no bias, in BEiT's form: one matrix and two vectors.

    Args:
        width: Width of a token.
        heads: Heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens ``[n, tokens, width]`` to the same shape."""
        n, tokens, width = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = functional.linear(x, self.qkv.weight, bias).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        y: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return y


class Block(nn.Module):
    """A transformer block with its normalisations in front."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        from zoo.models._timm import import_timm

        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp: nn.Module = import_timm().layers.Mlp(width, 4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens to tokens."""
        x = x + self.attn(self.norm1(x))
        y: torch.Tensor = x + self.mlp(self.norm2(x))
        return y


def sinusoid(tokens: int, width: int) -> torch.Tensor:
    """Returns the fixed position codes ``[1, tokens, width]``: sines on even columns, cosines on odd ones.

    Vaswani et al. 2017 (arXiv:1706.03762), over the row-major number of the patch; not in the checkpoint.
    """
    angle = np.arange(tokens)[:, None] / 10000 ** (2 * (np.arange(width) // 2) / width)
    angle[:, 0::2], angle[:, 1::2] = np.sin(angle[:, 0::2]), np.cos(angle[:, 1::2])
    return torch.from_numpy(angle.astype(np.float32))[None]


class Patches(nn.Module):
    """Patches of 16 pixels to tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, 16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, 3, 224, 224]`` to ``[n, 196, 768]``."""
        y: torch.Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return y


class Encoder(nn.Module):
    """ViT-B/16 without a class token."""

    position: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = Patches()
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.register_buffer("position", sinusoid(TOKENS, WIDTH), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[n, 3, 224, 224]`` to tokens ``[n, 196, 768]``; nothing is masked."""
        y: torch.Tensor = self.norm(self.blocks(self.patch_embed(x) + self.position))
        return y


class Decoder(nn.Module):
    """What pre-training left in the checkpoint; never run."""

    def __init__(self) -> None:
        super().__init__()
        width, depth, heads = DECODER
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * 16 * 16)


class Pretraining(nn.Module):
    """The masked autoencoder that the encoder comes from."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.encoder_to_decoder = nn.Linear(WIDTH, DECODER[0], bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, DECODER[0]))


class MaeIntensity(nn.Module):
    """The encoder of a masked autoencoder, all tokens through one layer of 128, and a small head.

    The encoder stands in a checkpoint twice, as ``encoder`` and ``mae.encoder``, and here too: it is one module.

    Args:
        name: Name of the output.
        columns: Its columns.
    """

    def __init__(self, name: str, columns: int) -> None:
        super().__init__()
        self.name = name
        self.mae = Pretraining()
        self.encoder = self.mae.encoder
        self.proj = nn.Linear(TOKENS * WIDTH, 128)
        self.interpreter = nn.Sequential(
            nn.Linear(128, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(0.1), nn.Linear(32, columns)
        )

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps normalised RGB ``[n, 3, 224, 224]`` to ``[n, columns]``; no activation."""
        return {self.name: self.interpreter(self.proj(self.encoder(x).flatten(1)))}
