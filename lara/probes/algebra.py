"""Do latents add up and reverse? (004 section 4.1, Add and Rev; RotVLA 001 for SO(n).)

    Add(t) = E || z_a^{tk} - z_1 * z_2 * ... * z_t ||        t consecutive k-step latents, composed in order
    Rev(t) = E || z_a^{tk} * z_{tk}^a - e ||

* and e are the space's own where it is a group (SO(n): matmul and I); elsewhere + and 0, as ALAM measures plain LAMs.
Both shrink with z, so each is also given divided by E||z_a^{tk}||, which ALAM does not.
A law proves no meaning: the plain pixel difference obeys both exactly. It stands in the table for that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from lara.errors import ConfigError
from lara.latents.space import LatentSpace
from lara.probes.baselines import others, small
from lara.probes.clips import Clips, Lam, latents
from lara.probes.result import Result


@dataclass(frozen=True, kw_only=True)
class Laws(Result):
    """One entry per horizon t = 1..T. norm: E||z_a^{tk}||; the relative ones are divided by it (None where it is 0)."""

    additivity: list[float]
    additivity_relative: list[float]
    reversal: list[float]
    reversal_relative: list[float]
    norm: list[float]


@dataclass(frozen=True, kw_only=True)
class Algebra(Result):
    """operation: what * was. stride: k, in steps. rows: by latent."""

    operation: str
    stride: int
    clips: int
    rows: dict[str, Laws]


class Additive:
    """(R^d, +), for spaces that claim no group."""

    def compose(self, z_ab: Tensor, z_bc: Tensor) -> Tensor:
        return z_ab + z_bc

    def identity(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)


def group_of(lam: Lam, clips: Clips) -> tuple[Any, str]:
    """The operation under which the latents should add up, and its name.

    A gauged space (RotationSpace) is asked in the gauge of its own standing still, measured on pairs of identical
    frames; a space that is no group gets +.
    """
    space: LatentSpace = lam.space
    name, group = type(space).__name__, space.group()
    if group is None:
        return Additive(), f"+ ({name} is no group)"
    if not space.gauged:
        return group, name
    (still,) = latents(lam, clips.frames_NFCHW, [(0, 0)], clips.instruction)
    return space.gauge(still, torch.ones(len(still), dtype=torch.bool)), f"{name}, unit from identical frames"


def algebra(lam: Lam, clips: Clips) -> Algebra:
    """clips: frames at 0, k, 2k, ..., Tk. Raises ConfigError for other offsets."""
    strides = {b - a for a, b in zip(clips.offsets, clips.offsets[1:], strict=False)}
    if len(strides) != 1:
        raise ConfigError(f"expected frames at 0, k, 2k, ..., got {clips.offsets}")
    count = len(clips.offsets) - 1
    ahead = [(0, t) for t in range(1, count + 1)]
    steps = [(t - 1, t) for t in range(1, count + 1)]
    back = [(t, 0) for t in range(1, count + 1)]
    z = latents(lam, clips.frames_NFCHW, ahead + steps + back, clips.instruction)
    group, operation = group_of(lam, clips)
    pixels = [small(clips.frame(o))[:, None] for o in clips.offsets]
    difference = [pixels[j] - pixels[i] for i, j in ahead + steps + back]
    target = [pixels[j] for _, j in ahead + steps + back]
    source = [pixels[i] for i, _ in ahead + steps + back]
    shuffled = [others(x, turn=k + 1, turns=3 * count + 1) for k, x in enumerate(z)]
    return Algebra(
        operation=operation,
        stride=strides.pop(),
        clips=len(clips),
        rows={
            "model": laws(z, group),
            "other_latent": laws(shuffled, group),
            "pixel_difference": laws(difference, Additive()),
            "future_frame": laws(target, Additive()),
            "current_frame": laws(source, Additive()),
        },
    )


@torch.no_grad()
def laws(z: Sequence[Tensor] | Tensor, group: Any) -> Laws:
    """z: 3T latents (N, Q, D): T from the start to t, T single steps (t - 1 to t), T from t back to the start."""
    count = len(z) // 3
    ahead, steps, back = z[:count], z[count : 2 * count], z[2 * count :]
    composed = [reduce(group.compose, list(steps[: t + 1])) for t in range(count)]
    norm = [_size(a) for a in ahead]
    additivity = [_size(a - c) for a, c in zip(ahead, composed, strict=True)]
    returned = [group.compose(a, b) for a, b in zip(ahead, back, strict=True)]
    reversal = [_size(r - group.identity(r)) for r in returned]
    return Laws(
        additivity=additivity,
        additivity_relative=[_ratio(a, n) for a, n in zip(additivity, norm, strict=True)],
        reversal=reversal,
        reversal_relative=[_ratio(r, n) for r, n in zip(reversal, norm, strict=True)],
        norm=norm,
    )


def _size(z_NQD: Tensor) -> float:
    size: float = z_NQD.flatten(1).norm(dim=1).mean().item()
    return size


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")
