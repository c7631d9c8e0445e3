"""Image quality."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def psnr(prediction: Float[Tensor, "B C h w"], target: Float[Tensor, "B C h w"]) -> Float[Tensor, " B"]:
    """Peak signal-to-noise ratio of each image in dB; both in [0, 1], the prediction is clamped to it."""
    error = (prediction.clamp(0, 1) - target).square().flatten(1).mean(dim=1)
    return -10.0 * torch.log10(error.clamp(min=1e-10))
