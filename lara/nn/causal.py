"""A transformer block for sequences that are read from left to right while they look at something else."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.cross import CrossBlock


class CausalAttention(nn.Module):
    """Self-attention in which token t sees the tokens up to t."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"attention width must be a multiple of its heads, got width {width}, heads {heads}")
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTE: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        query, key, value = rearrange(
            self.query_key_value(x_BTE), "b t (three h d) -> three b h t d", three=3, h=self.heads
        )
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed: Tensor = self.out(rearrange(out, "b h t d -> b t (h d)"))
        return mixed


class CausalBlock(nn.Module):
    """Pre-norm causal self-attention, then cross-attention to a context and feed-forward."""

    def __init__(self, width: int, heads: int, context_width: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.cross = CrossBlock(width, heads, context_width, mlp_ratio)

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        context_BJE: Float[Tensor, "B J E2"],
        key_mask_BJ: Bool[Tensor, "B J"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        """key_mask_BJ: True where a context token is real."""
        out: Tensor = self.cross(x_BTE + self.attention(self.norm(x_BTE)), context_BJE, key_mask_BJ)
        return out
