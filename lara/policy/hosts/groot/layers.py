"""The layers of GR00T's action head, with its checkpoints' parameter names (facts: NVIDIA Isaac-GR00T, diffusers).

    attn1.{to_q, to_k, to_v, to_out.0}   ff.net.{0.proj, 2}   norm1[.linear]   norm3   layer1.W   W2.b   ...

B batch, T tokens, J tokens looked at, E width, I and O inputs and outputs of a layer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class CategoryLinear(nn.Module):
    """One linear layer per embodiment slot: W (slots, I, O), b (slots, O); sample b uses slot embodiment_B[b].

    The same map as nn.mlp.EmbodimentLinear under the vendor's parameter names and initialisation (N(0, 0.02)).
    """

    def __init__(self, slots: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.W = nn.Parameter(0.02 * torch.randn(slots, inputs, outputs))
        self.b = nn.Parameter(torch.zeros(slots, outputs))

    def forward(self, x_BTE: Float[Tensor, "B T I"], embodiment_B: Int[Tensor, " B"]) -> Float[Tensor, "B T O"]:
        # bmm plus addition, not baddbmm: autocast lowers bmm, while W and b stay float32
        return torch.bmm(x_BTE, self.W[embodiment_B]) + self.b[embodiment_B][:, None]


class CategoryMLP(nn.Module):
    """CategoryLinear -> ReLU -> CategoryLinear: the state encoder and the action decoder."""

    def __init__(self, slots: int, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layer1 = CategoryLinear(slots, inputs, hidden)
        self.layer2 = CategoryLinear(slots, hidden, outputs)

    def forward(self, x_BTE: Float[Tensor, "B T I"], embodiment_B: Int[Tensor, " B"]) -> Float[Tensor, "B T O"]:
        out: Tensor = self.layer2(F.relu(self.layer1(x_BTE, embodiment_B)), embodiment_B)
        return out


class ActionEncoder(nn.Module):
    """Noised actions and the time bucket -> one token per step: W3(silu(W2([W1(a), sin-cos(bucket)])))."""

    def __init__(self, slots: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.W1 = CategoryLinear(slots, action_dim, width)
        self.W2 = CategoryLinear(slots, 2 * width, width)
        self.W3 = CategoryLinear(slots, width, width)
        self.width = width

    def forward(
        self, x_BHA: Float[Tensor, "B H A"], bucket_B: Int[Tensor, " B"], embodiment_B: Int[Tensor, " B"]
    ) -> Float[Tensor, "B H E"]:
        a = self.W1(x_BHA, embodiment_B)
        time = sinusoid(bucket_B, self.width // 2, spread=self.width // 2).to(a.dtype)
        h = torch.cat([a, time[:, None].expand(-1, a.shape[1], -1)], dim=-1)
        out: Tensor = self.W3(F.silu(self.W2(h, embodiment_B)), embodiment_B)
        return out


def sinusoid(time_B: Tensor, half: int, *, spread: int) -> Float[Tensor, "B E"]:
    """[sin, cos] of `half` frequencies 10000^(-i / spread), i = 0 .. half - 1; (B, 2 * half), float32."""
    rates = torch.exp(-math.log(10000.0) / spread * torch.arange(half, device=time_B.device, dtype=torch.float32))
    angles = time_B.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class _TimestepEmbedder(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(inputs, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class TimestepEncoder(nn.Module):
    """Time bucket (B,) -> (B, E): 128 frequencies as [cos, sin], then an MLP (diffusers' flip_sin_to_cos, shift 1)."""

    HALF = 128

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = _TimestepEmbedder(2 * self.HALF, width)

    def forward(self, bucket_B: Int[Tensor, " B"]) -> Float[Tensor, "B E"]:
        sin, cos = sinusoid(bucket_B, self.HALF, spread=self.HALF - 1).chunk(2, dim=-1)
        out: Tensor = self.timestep_embedder(
            torch.cat([cos, sin], dim=-1).to(self.timestep_embedder.linear_1.weight.dtype)
        )
        return out


class AdaLayerNorm(nn.Module):
    """LayerNorm without weights, then scale and shift from the time embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width, eps=1e-5, elementwise_affine=False)

    def forward(self, x_BTE: Float[Tensor, "B T E"], time_BE: Float[Tensor, "B E"]) -> Float[Tensor, "B T E"]:
        scale, shift = self.linear(F.silu(time_BE))[:, None].chunk(2, dim=-1)
        out: Tensor = self.norm(x_BTE) * (1 + scale) + shift
        return out


class Attention(nn.Module):
    """Multi-head attention to `context`, or to x itself without one. No attention dropout; dropout after to_out."""

    def __init__(self, width: int, heads: int, context_width: int | None, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(context_width or width, width)
        self.to_v = nn.Linear(context_width or width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width), nn.Dropout(dropout)])

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        context_BJE: Float[Tensor, "B J E2"] | None,
        key_mask_BJ: Bool[Tensor, "B J"] | None,
    ) -> Float[Tensor, "B T E"]:
        source = x_BTE if context_BJE is None else context_BJE
        q, k, v = (
            y.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for y in (self.to_q(x_BTE), self.to_k(source), self.to_v(source))
        )
        mask = None if key_mask_BJ is None else key_mask_BJ[:, None, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        mixed: Tensor = self.to_out[1](self.to_out[0](out))
        return mixed


class _GELU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """Linear -> GELU (tanh) -> dropout -> Linear -> dropout, four times as wide inside."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            _GELU(width, 4 * width), nn.Dropout(dropout), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Block(nn.Module):
    """Attention and feed-forward, pre-norm. timed: norm1 is an AdaLayerNorm and norm3 has no weights (the DiT's);
    otherwise both are LayerNorms with weights (the vision-language self-attention's)."""

    def __init__(self, width: int, heads: int, *, context_width: int | None, dropout: float, timed: bool) -> None:
        super().__init__()
        self.cross, self.timed = context_width is not None, timed
        self.norm1 = AdaLayerNorm(width) if timed else nn.LayerNorm(width, eps=1e-5)
        self.attn1 = Attention(width, heads, context_width, dropout)
        self.norm3 = nn.LayerNorm(width, eps=1e-5, elementwise_affine=not timed)
        self.ff = FeedForward(width, dropout)
        self.final_dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BTE: Float[Tensor, "B T E"],
        time_BE: Float[Tensor, "B E"] | None = None,
        context_BJE: Float[Tensor, "B J E2"] | None = None,
        key_mask: Bool[Tensor, "B K"] | None = None,
    ) -> Float[Tensor, "B T E"]:
        """key_mask: of the context for a cross block, of x itself for a self block; None looks everywhere."""
        h = self.norm1(x_BTE, time_BE) if self.timed else self.norm1(x_BTE)
        x_BTE = x_BTE + self.final_dropout(self.attn1(h, context_BJE, key_mask))
        out: Tensor = x_BTE + self.ff(self.norm3(x_BTE))
        return out
