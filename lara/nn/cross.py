"""A transformer block whose tokens read another set of tokens, of another width if need be."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.nn.attention import Attention
from lara.nn.mlp import MLP


class CrossBlock(nn.Module):
    """Pre-norm cross-attention and feed-forward: x reads the context, the context stays as it is.

    With ONE context token the softmax has one entry, so every x token receives the same vector whatever it asks for.
    """

    def __init__(self, width: int, heads: int, context_width: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm_x = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(context_width)
        self.attention = Attention(width, heads, context_width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, int(width * mlp_ratio))

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        context_BJE: Float[Tensor, "B J E2"],
        key_mask_BJ: Bool[Tensor, "B J"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        """key_mask_BJ: True where a context token is real; every sample needs at least one."""
        x_BTE = x_BTE + self.attention(self.norm_x(x_BTE), self.norm_context(context_BJE), key_mask_BJ)
        out: Tensor = x_BTE + self.mlp(self.norm_mlp(x_BTE))
        return out
