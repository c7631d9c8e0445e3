"""Transformer blocks: a pre-norm one for encoders, and one modulated by the flow time for the action expert."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.nn.attention import Attention
from lara.nn.mlp import MLP


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and feed-forward (ViT)."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, int(width * mlp_ratio))

    def forward(
        self, x_BTE: Float[Tensor, "B T E"], mask_BT: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T E"]:
        x_BTE = x_BTE + self.attention(self.norm_attention(x_BTE), key_mask_BJ=mask_BT)
        out: Tensor = x_BTE + self.mlp(self.norm_mlp(x_BTE))
        return out


class DiTBlock(nn.Module):
    """Attention and feed-forward modulated by the flow time (AdaLN-Zero, Peebles and Xie 2023).

    context_width given: the block cross-attends to the vision-language tokens; otherwise its tokens attend to each
    other. The expert alternates the two (003 section A.1). Gates start at zero, so a fresh block is the identity.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.cross = context_width is not None
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads, context_width)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = MLP(width, int(width * mlp_ratio))
        shut = nn.Linear(width, 6 * width)
        nn.init.zeros_(shut.weight)
        nn.init.zeros_(shut.bias)
        self.modulation = nn.Sequential(nn.SiLU(), shut)

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        time_BE: Float[Tensor, "B E"] | Float[Tensor, "B T E"],
        context_BJE: Float[Tensor, "B J E2"],
        key_mask: Bool[Tensor, "B K"] | Bool[Tensor, "B T K"] | None = None,
        looks_T: Bool[Tensor, " T"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        """key_mask: of the context for a cross block, of x itself for a self block. time_BE: one per sample or one per
        token. looks_T: tokens that are False take nothing from a cross block's context (None: all look)."""
        modulation = self.modulation(time_BE)
        modulation = modulation[:, None] if modulation.ndim == 2 else modulation
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, dim=-1)
        h = self.norm_attention(x_BTE) * (1 + scale1) + shift1
        h = self.attention(h, context_BJE if self.cross else None, key_mask)
        if self.cross and looks_T is not None:
            h = h * looks_T[:, None]
        x_BTE = x_BTE + gate1 * h
        h = self.norm_mlp(x_BTE) * (1 + scale2) + shift2
        out: Tensor = x_BTE + gate2 * self.mlp(h)
        return out
