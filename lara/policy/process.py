"""Two roads from noise to data for several streams at once: straight (flow matching) and circular (diffusion).

Both run from tau = 0, noise, to tau = 1, data, and in both the network answers with the direction of travel, so that
nothing around them has to know which one it is.
"""

from __future__ import annotations

import math
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from lara.ops.flow import FlowSample, path, sample_tau


@runtime_checkable
class Process(Protocol):
    """tau(): (n,) random times in [0, 1] for training. noisy(): the point at tau_B and what the network must answer.
    step(): from x at time `tau` to time `until`, along the network's answer."""

    def tau(self, n: int, device: torch.device | str) -> Tensor: ...

    def noisy(self, data: Tensor, noise: Tensor, tau_B: Tensor) -> FlowSample: ...

    def step(self, x: Tensor, answer: Tensor, tau: float, until: float) -> Tensor: ...


class FlowMatching:
    """x = tau a + (1 - tau) eps, the answer is a - eps (003, Eqs. 1-2). The law of tau is that of ops.flow.sample_tau.

    ALAM's law (004, section 3.3), t = 0.999 u + 0.001 with u ~ Beta(1.5, 1) and t = 1 the noise, is this one with
    t = 1 - tau.
    """

    def __init__(self, *, alpha: float = 1.5, beta: float = 1.0, scale: float = 0.999) -> None:
        self.law = {"alpha": alpha, "beta": beta, "scale": scale}

    def tau(self, n: int, device: torch.device | str) -> Tensor:
        return sample_tau(n, device=device, **self.law)

    def noisy(self, data: Tensor, noise: Tensor, tau_B: Tensor) -> FlowSample:
        return path(data, noise, tau_B)

    def step(self, x: Tensor, answer: Tensor, tau: float, until: float) -> Tensor:
        return x + answer * (until - tau)


class Diffusion:
    """Variance-preserving diffusion with the cosine schedule: x = sin(phi) a + cos(phi) eps, phi = tau pi / 2.

    The network answers u = cos(phi) a - sin(phi) eps = dx/dphi, the negative of the v-prediction of Salimans and Ho
    2022; `step` is DDIM, which in these terms is an exact turn by the angle travelled, singular at neither end. tau is
    uniform. (004, Table 3 "DP" says no more than "diffusion".)
    """

    buildable: ClassVar[str] = "model"

    def tau(self, n: int, device: torch.device | str) -> Tensor:
        return torch.rand(n, device=device)

    def noisy(self, data: Tensor, noise: Tensor, tau_B: Tensor) -> FlowSample:
        phi = (tau_B * (math.pi / 2)).reshape(-1, *([1] * (data.ndim - 1))).to(data.dtype)
        return FlowSample(
            x=phi.sin() * data + phi.cos() * noise, velocity=phi.cos() * data - phi.sin() * noise, tau_B=tau_B
        )

    def step(self, x: Tensor, answer: Tensor, tau: float, until: float) -> Tensor:
        turn = (until - tau) * math.pi / 2
        return math.cos(turn) * x + math.sin(turn) * answer
