"""GR00T's two transformers: the DiT over [state | future | action] tokens, and the self-attention over VL tokens.

One DiT for N1.5, N1.6 and N1.7: even blocks cross-attend to the vision-language tokens, odd blocks are bidirectional
self-attention. `alternate` says which of the VL tokens a cross block sees:

    None  all of them (N1.5)        n  of every n cross blocks the first sees text, the others images (N1.6, N1.7: 2)

B batch, T tokens of the head, J VL tokens, E width, C width of the VL tokens, O output width.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lara.errors import ConfigError
from lara.policy.hosts.groot.layers import Block, TimestepEncoder
from lara.policy.hosts.groot.vlm import VLTokens
from lara.policy.hosts.shared.checkpointing import known


class DiT(nn.Module):
    """heads * head_dim = E. outputs: O. checkpointing: "non_reentrant" recomputes each block in the backward pass."""

    def __init__(
        self,
        *,
        heads: int,
        head_dim: int,
        blocks: int,
        context_width: int,
        outputs: int,
        alternate: int | None,
        dropout: float,
        checkpointing: str = "none",
    ) -> None:
        super().__init__()
        if alternate is not None and alternate < 2:
            raise ConfigError(f"alternate is null (see all VL tokens) or at least 2 cross blocks, got {alternate}")
        width = heads * head_dim
        self.width, self.alternate, self.checkpointing = width, alternate, known(checkpointing)
        self.timestep_encoder = TimestepEncoder(width)
        self.transformer_blocks = nn.ModuleList(
            Block(width, heads, context_width=context_width if k % 2 == 0 else None, dropout=dropout, timed=True)
            for k in range(blocks)
        )
        self.norm_out = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.proj_out_1 = nn.Linear(width, 2 * width)
        self.proj_out_2 = nn.Linear(width, outputs)

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        bucket_B: Int[Tensor, " B"],
        context: VLTokens,
        *,
        own_mask_BT: Bool[Tensor, "B T"] | None,
        mask_context: bool,
    ) -> tuple[Float[Tensor, "B T O"], dict[str, Tensor]]:
        """Outputs, and the sequence by name: "block_k" after block k = 1..L, "norm_out" after the modulated last norm.

        own_mask_BT: tokens that self-attention may look at; None is all of them. mask_context: whether a plain
        (`alternate` None) cross block ignores VL padding; an alternating one always does.
        """
        time = self.timestep_encoder(bucket_B)
        states = {}
        for k, block in enumerate(self.transformer_blocks):
            mask = self._context_mask(k, context, mask_context) if k % 2 == 0 else own_mask_BT
            inputs = (x_BTE, time, context.x if k % 2 == 0 else None, mask)
            if self.checkpointing == "non_reentrant":
                x_BTE = checkpoint(block, *inputs, use_reentrant=False)
            else:
                x_BTE = block(*inputs)
            states[f"block_{k + 1}"] = x_BTE
        shift, scale = self.proj_out_1(F.silu(time))[:, None].chunk(2, dim=-1)
        states["norm_out"] = self.norm_out(x_BTE) * (1 + scale) + shift
        return self.proj_out_2(states["norm_out"]), states

    def _context_mask(self, k: int, context: VLTokens, mask_context: bool) -> Tensor | None:
        if self.alternate is None:
            return context.mask if mask_context else None
        text = k % (2 * self.alternate) == 0
        return context.mask & (~context.image if text else context.image)


class VLSelfAttention(nn.Module):
    """`layers` self-attention blocks over the VL tokens (N1.5 and N1.7: 4 layers of 32 heads x 64)."""

    def __init__(self, *, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList(
            Block(width, heads, context_width=None, dropout=dropout, timed=False) for _ in range(layers)
        )

    def forward(self, x_BJC: Float[Tensor, "B J C"], key_mask_BJ: Bool[Tensor, "B J"] | None) -> Float[Tensor, "B J C"]:
        for block in self.transformer_blocks:
            x_BJC = block(x_BJC, key_mask=key_mask_BJ)
        return x_BJC
