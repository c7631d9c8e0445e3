"""The flow time as pi0, pi0.5 and SmolVLA feed it to their experts."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def wave(
    time_B: Float[Tensor, " B"], width: int, *, shortest: float = 4e-3, longest: float = 4.0
) -> Float[Tensor, "B E"]:
    """Sines, then cosines, of the time at width / 2 periods from `shortest` to `longest`; time 1 is noise.

    In float64, because at the shortest period the angle reaches 1571 and float32 would keep only four of its digits.
    """
    fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=time_B.device)
    periods = shortest * (longest / shortest) ** fraction
    angles = time_B.double()[:, None] * (2 * math.pi / periods)
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(time_B.dtype)
