"""The one DiT of all token layouts: time embedding, alternating blocks, final norm. It knows no state and no action.

    block 1: cross-attention to the VL tokens     block 2: self-attention     block 3: cross ...   (003 section A.1)

Intermediate states are returned by name: "block_k" is the sequence after block k of L (k = 1..L), "norm_out" the last
one after the final norm.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.nn.blocks import DiTBlock
from lara.nn.embeddings import TimeEmbedding
from lara.policy.backbone import Tokens


class Trunk(nn.Module):
    """width: E. context_width: of the vision-language tokens. Every gate starts shut, so a fresh trunk is the identity
    up to the final norm."""

    def __init__(self, *, width: int, heads: int, blocks: int, context_width: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.width = width
        self.time = TimeEmbedding(width)
        self.blocks = nn.ModuleList(
            DiTBlock(width, heads, context_width if k % 2 == 0 else None, mlp_ratio) for k in range(blocks)
        )
        self.norm_out = nn.LayerNorm(width, elementwise_affine=False)
        shut = nn.Linear(width, 2 * width)
        self.modulation_out = nn.Sequential(nn.SiLU(), shut)
        nn.init.zeros_(shut.weight)
        nn.init.zeros_(shut.bias)

    def run(
        self,
        x_BTE: Float[Tensor, "B T E"],
        tau_B: Float[Tensor, " B"] | Float[Tensor, "B T"],
        context: Tokens,
        own_mask: Bool[Tensor, "B T"] | Bool[Tensor, "B T T"],
        looks_T: Bool[Tensor, " T"] | None = None,
    ) -> dict[str, Tensor]:
        """Every named state of the whole sequence, (B, T, E).

        own_mask: which tokens are keys, for everybody or token by token. tau_B: one flow time per sample or per token.
        looks_T: which tokens look at the context; None means all.
        """
        time = self.time(tau_B)
        states = {}
        x = x_BTE
        for k, block in enumerate(self.blocks, start=1):
            x = block(x, time, context.x, context.mask if block.cross else own_mask, looks_T)
            states[f"block_{k}"] = x
        out = self.modulation_out(time)
        shift, scale = (out[:, None] if out.ndim == 2 else out).chunk(2, dim=-1)
        states["norm_out"] = self.norm_out(x) * (1 + scale) + shift
        return states
