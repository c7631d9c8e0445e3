"""Pixels for a host's image encoder: resized with their proportions kept, padded with black, in [-1, 1]."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

Place = Literal["centre", "bottom_right"]


def letterbox(
    images_BCHW: UInt8[Tensor, "B 3 height width"], size: int, *, place: Place = "centre"
) -> Float[Tensor, "B 3 {size} {size}"]:
    """Bilinear, without antialiasing, as openpi and lerobot resize on the device; a square of that size is unchanged.

    place: where the image sits on the black square; pi0 and pi0.5 centre it (the odd row goes below), SmolVLA puts it
    at the bottom right.
    """
    height, width = images_BCHW.shape[-2:]
    x = images_BCHW.float() / 127.5 - 1.0
    if (height, width) == (size, size):
        return x
    ratio = max(height, width) / size
    new = (int(height / ratio), int(width / ratio))
    x = F.interpolate(x, size=new, mode="bilinear", align_corners=False)
    down, right = size - new[0], size - new[1]
    before = (down // 2, right // 2) if place == "centre" else (down, right)
    return F.pad(x, (before[1], right - before[1], before[0], down - before[0]), value=-1.0)
