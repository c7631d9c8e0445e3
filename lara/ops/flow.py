"""Flow matching in the LARA paper's direction, the only one used inside lara (003, Eq. 1 and 2).

    tau = 0 is noise, tau = 1 is data;   x_tau = tau * a + (1 - tau) * eps;   v = dx/dtau = a - eps

pi0's code and ALAM (004, Eq. 12) run the other way: t = 1 - tau and u = eps - a = -v. `flip_time` and `flip_velocity`
convert at such a border and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class FlowSample(NamedTuple):
    """A point on the straight path and what the network must answer there."""

    x: Tensor  # (B, ...) noised data
    velocity: Tensor  # (B, ...) target a - eps
    tau_B: Tensor  # (B,) flow time in [0, 1]


def sample_tau(
    n: int, *, device: torch.device | str, alpha: float = 1.5, beta: float = 1.0, scale: float = 0.999
) -> Float[Tensor, " n"]:
    """Flow times in [0, scale]: tau = scale * (1 - u), u ~ Beta(alpha, beta).

    Beta(1.5, 1) leans to u = 1, so tau leans to noise, where the choice between modes is made (pi0 and GR00T use this
    law; GR00T's form (s - u)/s can fall just below 0, this one cannot).
    """
    # Beta(a, 1) has the inverse CDF x^(1/a); the general case needs two gammas. Both use torch's global generator.
    if beta == 1.0:
        u = torch.rand(n, device=device) ** (1.0 / alpha)
    else:
        concentration = torch.tensor([alpha, beta], device=device).expand(n, 2)
        gammas = torch._standard_gamma(concentration)
        u = gammas[:, 0] / gammas.sum(dim=1)
    return scale * (1.0 - u)


def path(data: Tensor, noise: Tensor, tau_B: Float[Tensor, " B"]) -> FlowSample:
    """The straight path between `noise` (tau = 0) and `data` (tau = 1), both (B, ...)."""
    tau = tau_B.reshape(-1, *([1] * (data.ndim - 1))).to(data.dtype)
    return FlowSample(x=tau * data + (1 - tau) * noise, velocity=data - noise, tau_B=tau_B)


def euler(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, *, steps: int) -> Tensor:
    """Integrates dx = velocity(x, tau_B) dtau from tau = 0 to 1 in `steps` equal forward Euler steps (003, Eq. 2)."""
    if steps < 1:
        raise ValueError(f"euler needs at least one step, got {steps}")
    x = noise
    for k in range(steps):
        tau_B = torch.full((x.shape[0],), k / steps, device=x.device, dtype=torch.float32)
        x = x + velocity(x, tau_B) / steps
    return x


def flip_time(time: Tensor) -> Tensor:
    """Between our tau (1 = data) and the time of pi0 and ALAM (1 = noise). Its own inverse."""
    return 1.0 - time


def flip_velocity(velocity: Tensor) -> Tensor:
    """Between our v = a - eps and the velocity of pi0 and ALAM, eps - a. Its own inverse."""
    return -velocity
