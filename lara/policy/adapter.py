"""The trainable self-attention between a (usually frozen) backbone and the action expert (LARA 003, Table S.1)."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from lara.nn.blocks import EncoderBlock
from lara.policy.backbone import Tokens


class SelfAttentionAdapter(nn.Module):
    """Norm, optional Linear to the adapter's width, then `layers` self-attention blocks over all tokens.

    (B, J, context_width) -> (B, J, width). GR00T-N1.5 keeps the backbone's width; a smaller one is cheaper.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, context_width: int, heads: int, layers: int = 1, width: int | None = None) -> None:
        super().__init__()
        self.width = width or context_width
        self.norm = nn.LayerNorm(context_width)
        self.project = nn.Identity() if self.width == context_width else nn.Linear(context_width, self.width)
        self.blocks = nn.ModuleList(EncoderBlock(self.width, heads) for _ in range(layers))

    def forward(self, tokens: Tokens) -> Tokens:
        x = self.project(self.norm(tokens.x))
        for block in self.blocks:
            x = block(x, tokens.mask)
        return Tokens(x, tokens.mask)
