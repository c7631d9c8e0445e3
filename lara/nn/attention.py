"""Multi-head attention over torch's scaled_dot_product_attention: self, cross, with an optional key mask.

T query tokens, J key tokens, E width.
"""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError


class Attention(nn.Module):
    """x attends to `context` (cross-attention), or to itself when no context is given.

    context_width: width of the context tokens; defaults to `width` (self-attention).
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"attention width must be a multiple of its heads, got width {width}, heads {heads}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        context_BJE: Float[Tensor, "B J E2"] | None = None,
        key_mask_BJ: Bool[Tensor, "B J"] | Bool[Tensor, "B T J"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        """key_mask_BJ: True where a key is real, for all queries of a sample or (B, T, J) for each of them; every query
        needs at least one real key."""
        context = x_BTE if context_BJE is None else context_BJE
        query = rearrange(self.query(x_BTE), "b t (h d) -> b h t d", h=self.heads)
        key, value = rearrange(self.key_value(context), "b j (two h d) -> two b h j d", two=2, h=self.heads)
        mask = None
        if key_mask_BJ is not None:
            mask = key_mask_BJ[:, None, None, :] if key_mask_BJ.ndim == 2 else key_mask_BJ[:, None]
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed: Tensor = self.out(rearrange(out, "b h t d -> b t (h d)"))
        return mixed
