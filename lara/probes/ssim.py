"""Structural similarity (Wang et al. 2004), as usual: 11 x 11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lara.errors import ConfigError

WINDOW, SIGMA, C1, C2 = 11, 1.5, 0.01**2, 0.03**2


def ssim(a: Float[Tensor, "N C h w"], b: Float[Tensor, "N C h w"]) -> Float[Tensor, " N"]:
    """Mean over channels and all places where the whole window fits; images in [0, 1], at least 11 pixels a side."""
    if min(a.shape[-2:]) < WINDOW:
        raise ConfigError(f"SSIM needs images of at least {WINDOW} pixels a side, got {tuple(a.shape[-2:])}")
    # a separable window over an image is one matrix from the left and one from the right
    down, across = (_window(length, a.device) for length in a.shape[-2:])

    def blur(image: Tensor) -> Tensor:
        return down @ image @ across.T

    # variances are differences of near-equal numbers, which float32 cannot hold for flat regions
    a, b = a.double(), b.double()
    mean_a, mean_b = blur(a), blur(b)
    var_a = blur(a * a) - mean_a.square()
    var_b = blur(b * b) - mean_b.square()
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
    structure = (2 * covariance + C2) / (var_a + var_b + C2)
    return (luminance * structure).flatten(1).mean(dim=1).to(torch.float32)


def _window(length: int, device: torch.device) -> Tensor:
    """(length - 10, length): row k is the normalised Gaussian over k..k+10."""
    x = torch.arange(WINDOW, dtype=torch.float64, device=device) - WINDOW // 2
    line = torch.exp(-x.square() / (2 * SIGMA**2))
    out = torch.zeros(length - WINDOW + 1, length, dtype=torch.float64, device=device)
    for k, row in enumerate(out):
        row[k : k + WINDOW] = line / line.sum()
    return out
