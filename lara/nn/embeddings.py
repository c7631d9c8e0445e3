"""Positions and times as vectors."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoid(position: Float[Tensor, "..."], width: int, max_period: float = 10_000.0) -> Float[Tensor, "... E"]:
    """cos and sin of `position` at width/2 geometric frequencies (Vaswani et al. 2017)."""
    half = width // 2
    frequency = torch.exp(
        -math.log(max_period) * torch.arange(half, device=position.device, dtype=torch.float32) / half
    )
    angle = position.float()[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """Flow time tau in [0, 1] -> a vector that modulates every block (DiT, Peebles and Xie 2023)."""

    def __init__(self, width: int, frequencies: int = 256) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, tau_B: Float[Tensor, "*B"]) -> Float[Tensor, "*B E"]:
        # x 1000: the frequencies were made for integer diffusion steps 0..999
        out: Tensor = self.mlp(sinusoid(1000.0 * tau_B, self.frequencies).to(next(self.mlp.parameters()).dtype))
        return out
