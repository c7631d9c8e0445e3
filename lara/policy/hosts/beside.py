"""One layer of an action expert that shares the attention of the image-text model's layer beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from lara.policy.hosts.decoder import Layer, attend


def beside(
    layer: Layer, x: Tensor, places: Tensor, condition: Tensor | None, keys: Tensor, values: Tensor, visible: Tensor
) -> Tensor:
    """x: (B, T, E) own tokens at positions `places` (B, T). keys, values: (B, K, P, D), the prefix's of this layer.

    visible: (B, T, P + T), True where own token t may look. Returns (B, T, E) after the layer.
    """
    q, k, v, gate = layer.project(x, places, condition)
    k, v = torch.cat([keys.to(k.dtype), k], dim=2), torch.cat([values.to(v.dtype), v], dim=2)
    return layer.finish(x, attend(q, k, v, visible), gate, condition)
