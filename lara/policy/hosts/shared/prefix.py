"""What the action expert may look at: the image-text model's keys and values, layer by layer.

The image-text tokens never look at the action tokens, so they are computed once: all noise draws of a training step
and all steps of the sampler share them. The last layer only gives keys and values; what would come after them is read
by nobody.

B batch, P prefix tokens, E width, K key heads, D dims per head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lara.policy.hosts.shared.checkpointing import Checkpointing, run
from lara.policy.hosts.shared.decoder import Decoder, Layer, attend


class Prefix(NamedTuple):
    """keys, values: L tensors (B, K, P, D), keys rotated. mask_BP: True where a token is real. end_B: real tokens."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask_BP: Tensor
    end_B: Tensor

    def repeat(self, draws: int) -> Prefix:
        """Row r * B + b is sample b."""
        if draws == 1:
            return self
        keys, values = (tuple(x.repeat(draws, 1, 1, 1) for x in side) for side in (self.keys, self.values))
        return Prefix(keys, values, self.mask_BP.repeat(draws, 1), self.end_B.repeat(draws))


def positions(mask_BP: Bool[Tensor, "B P"]) -> Int[Tensor, "B P"]:
    """Padding takes no position, so that its amount changes nothing."""
    return mask_BP.long().cumsum(dim=1) - 1


def encode(
    decoder: Decoder,
    x_BPE: Float[Tensor, "B P E"],
    mask_BP: Bool[Tensor, "B P"],
    visible_BPP: Bool[Tensor, "B P P"],
    checkpointing: Checkpointing,
) -> Prefix:
    """Runs the image-text decoder over its embedded tokens and keeps each layer's keys and values."""
    places = positions(mask_BP)
    keys, values = [], []
    x = x_BPE
    last = len(decoder.layers) - 1
    for k in range(last + 1):
        layer = decoder.at(k)
        if k == last:
            _, key, value, _ = layer.project(x, places)
        else:
            x, key, value = run(_through, layer, x, places, visible_BPP, checkpointing=checkpointing)
        keys.append(key)
        values.append(value)
    return Prefix(tuple(keys), tuple(values), mask_BP, mask_BP.sum(dim=1))


def _through(layer: Layer, x: Tensor, places: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v, gate = layer.project(x, places)
    return layer.finish(x, attend(q, k, v, visible), gate), k, v


def freeze_unread(decoder: Decoder) -> None:
    """No gradient for what comes after the last layer's keys and values: it never gets one, and DDP would wait."""
    last = decoder.at(-1)
    for module in (last.self_attn.q_proj, last.self_attn.o_proj, last.mlp, last.post_attention_layernorm, decoder.norm):
        module.requires_grad_(False)


def sees_all(mask_BP: Bool[Tensor, "B P"], queries: int) -> Bool[Tensor, "B T P"]:
    """Every one of `queries` tokens sees every real prefix token."""
    return mask_BP[:, None].expand(-1, queries, -1)


def with_own(sees_prefix: Bool[Tensor, "B T P"], sees_own: Bool[Tensor, "B T T"]) -> Bool[Tensor, "B T J"]:
    """What T suffix tokens see among prefix and suffix keys, in this order."""
    return torch.cat([sees_prefix, sees_own], dim=2)
