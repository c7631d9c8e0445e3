"""uint8 pixels in, what a network wants out. The one place where an image is normalised on the device."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class PixelNormalizer(nn.Module):
    """uint8 [0, 255] -> (x / 255 - mean) / std per channel, in the dtype asked for. Part of the model, so the same in
    every stage and stored with its weights (two pixel ranges in two stages is a bug this shape cannot have)."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = (0.5, 0.5, 0.5), std: tuple[float, ...] = (0.5, 0.5, 0.5)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))

    def forward(self, images: UInt8[Tensor, "*n C h w"]) -> Float[Tensor, "*n C h w"]:
        return self.from_unit(images.float() / 255.0)

    def from_unit(self, unit: Float[Tensor, "*n C h w"]) -> Float[Tensor, "*n C h w"]:
        """[0, 1] -> normalised, with gradient."""
        return (unit - self.mean) / self.std

    def to_unit(self, normalised: Float[Tensor, "*n C h w"]) -> Float[Tensor, "*n C h w"]:
        """Back to [0, 1] (what PSNR and LPIPS want)."""
        return normalised * self.std + self.mean
