"""The decoder layers that pi0, pi0.5 and SmolVLA are made of: Gemma's and Llama's, under their checkpoints' names.

A layer is not called as a whole, because two stacks (the image-text model's and the action expert's) share one
attention: `project` gives queries, keys and values, `finish` takes what was attended to.

B batch, T tokens, J keys, E width, H query heads, K key heads, D dims per head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.ops.precision import full_precision

ROPE_BASE = 10_000.0


class Heads(NamedTuple):
    """One layer's attention: queries (B, H, T, D), keys and values (B, K, T, D), the gate of its residual or None."""

    q: Tensor
    k: Tensor
    v: Tensor
    gate: Tensor | None


def rotate(x_BHTD: Float[Tensor, "B H T D"], positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B H T D"]:
    """Rotary positions (Su et al. 2021) on the two halves of D, base 10,000, in float32."""
    half = x_BHTD.shape[-1] // 2
    with full_precision(x_BHTD):
        exponents = torch.arange(half, device=x_BHTD.device, dtype=torch.float32) / half
        angles = positions_BT[:, None, :, None].float() / ROPE_BASE**exponents
        sin, cos = angles.sin(), angles.cos()
        first, second = x_BHTD.float().chunk(2, dim=-1)
        turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return turned.to(x_BHTD.dtype)


def attend(
    q_BHTD: Float[Tensor, "B H T D"],
    k_BKJD: Float[Tensor, "B K J D"],
    v_BKJD: Float[Tensor, "B K J D"],
    visible_BTJ: Bool[Tensor, "B T J"],
) -> Float[Tensor, "B T HD"]:
    """Grouped-query attention; visible: True where token t may look at key j (at least one j for each t)."""
    groups = q_BHTD.shape[1] // k_BKJD.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k_BKJD, v_BKJD))
    out = F.scaled_dot_product_attention(q_BHTD, k.to(q_BHTD.dtype), v.to(q_BHTD.dtype), visible_BTJ[:, None])
    return rearrange(out, "b h t d -> b t (h d)")


class GemmaNorm(nn.Module):
    """RMSNorm whose stored weight is the distance from one."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return (_unit(x, self.eps) * (1.0 + self.weight.float())).to(x.dtype), None


class LlamaNorm(nn.Module):
    """RMSNorm with a plain weight."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.weight * _unit(x, self.eps).to(x.dtype), None


class AdaptiveNorm(nn.Module):
    """pi0.5's RMSNorm: scale, shift and the gate of the residual behind it come from the flow time."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.dense = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if condition is None:
            raise ConfigError("an adaptive norm needs the embedding of the flow time, got none")
        with full_precision(x):
            scale, shift, gate = self.dense(condition.float())[:, None].chunk(3, dim=-1)
            out = _unit(x, self.eps) * (1 + scale) + shift
        return out.to(x.dtype), gate.to(x.dtype)


def _unit(x: Tensor, eps: float) -> Tensor:
    x = x.float()
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


class Layer(nn.Module):
    """One pre-norm layer. norm: factory of its two norms. activation: of the gated MLP.

    key_inputs: width of what keys and values are made from; defaults to `width` (SmolVLA's cross layers differ).
    """

    def __init__(
        self,
        *,
        width: int,
        mlp: int,
        heads: int,
        key_heads: int,
        head_dim: int,
        norm: Callable[[int], nn.Module],
        activation: Callable[[Tensor], Tensor],
        key_inputs: int | None = None,
    ) -> None:
        super().__init__()
        if heads % key_heads:
            raise ConfigError(f"query heads must be a multiple of key heads, got {heads} and {key_heads}")
        self.self_attn = _Projections(width, key_inputs or width, heads, key_heads, head_dim)
        self.mlp = _GatedMLP(width, mlp, activation)
        self.input_layernorm = norm(width)
        self.post_attention_layernorm = norm(width)

    def project(self, x_BTE: Tensor, positions_BT: Tensor, condition: Tensor | None = None) -> Heads:
        """Rotated queries and keys, and values, of the tokens' own normed states."""
        x, gate = self.input_layernorm(x_BTE, condition)
        projections = self.self_attn
        q, k = (rotate(part(x), positions_BT) for part in (projections.query, projections.key))
        return Heads(q, k, projections.value(x), gate)

    def query(
        self, x_BTE: Tensor, positions_BT: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Rotated queries alone, for a layer whose keys come from elsewhere; and the gate (or None)."""
        x, gate = self.input_layernorm(x_BTE, condition)
        return rotate(self.self_attn.query(x), positions_BT), gate

    def finish(self, x_BTE: Tensor, attended: Tensor, gate: Tensor | None, condition: Tensor | None = None) -> Tensor:
        """The residual stream after this layer, from before it and what its tokens attended to."""
        x = _residual(x_BTE, self.self_attn.o_proj(attended), gate)
        normed, gate = self.post_attention_layernorm(x, condition)
        return _residual(x, self.mlp(normed), gate)


def _residual(x: Tensor, change: Tensor, gate: Tensor | None) -> Tensor:
    return x + change if gate is None else x + change * gate


class _Projections(nn.Module):
    def __init__(self, width: int, key_inputs: int, heads: int, key_heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.q_proj = nn.Linear(width, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(key_inputs, key_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(key_inputs, key_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)

    def query(self, x: Tensor) -> Tensor:
        query: Tensor = rearrange(self.q_proj(x), "b t (h d) -> b h t d", d=self.head_dim)
        return query

    def key(self, x: Tensor) -> Tensor:
        key: Tensor = rearrange(self.k_proj(x), "b t (h d) -> b h t d", d=self.head_dim)
        return key

    def value(self, x: Tensor) -> Tensor:
        value: Tensor = rearrange(self.v_proj(x), "b t (h d) -> b h t d", d=self.head_dim)
        return value


class _GatedMLP(nn.Module):
    def __init__(self, width: int, mlp: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.gate_proj = nn.Linear(width, mlp, bias=False)
        self.up_proj = nn.Linear(width, mlp, bias=False)
        self.down_proj = nn.Linear(mlp, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))
        return out


class Decoder(nn.Module):
    """A stack of layers, its final norm and, for the image-text model, the word table. layers: made by `layer(k)`."""

    layers: nn.ModuleList

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        layer: Callable[[int], Layer],
        norm: Callable[[int], nn.Module],
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        if vocabulary is not None:
            self.embed_tokens = nn.Embedding(vocabulary, width)
            nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(layer(k) for k in range(layers))
        self.norm = norm(width)

    def at(self, k: int) -> Layer:
        """Layer k, from 0; from the end where k is negative."""
        layer = self.layers[k]
        assert isinstance(layer, Layer)  # a ModuleList does not say what it holds
        return layer

    def embed_language_tokens(self, ids_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        """Word embeddings, scaled by the root of the width as both families' hosts do."""
        embedded: Tensor = self.embed_tokens(ids_BT) * self.width**0.5
        return embedded


def beside(
    layer: Layer, x: Tensor, places: Tensor, condition: Tensor | None, keys: Tensor, values: Tensor, visible: Tensor
) -> Tensor:
    """One layer of an action expert that shares the attention of the image-text model's layer beside it.

    x: (B, T, E) own tokens at positions `places` (B, T). keys, values: (B, K, P, D), the prefix's of this layer.

    visible: (B, T, P + T), True where own token t may look. Returns (B, T, E) after the layer.
    """
    q, k, v, gate = layer.project(x, places, condition)
    k, v = torch.cat([keys.to(k.dtype), k], dim=2), torch.cat([values.to(v.dtype), v], dim=2)
    return layer.finish(x, attend(q, k, v, visible), gate, condition)
