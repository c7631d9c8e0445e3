"""A latent of one scene decoded in another: does the same motion happen there?

The sheet is for the eye. Beside it numbers: WHERE does a transferred latent change the picture? A latent that carries a
motion changes what moves in the new scene; one that carries a picture paints the old scene's change into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lara.probes.clips import Clips, Lam, latents, predict
from lara.probes.result import Result
from lara.probes.sheet import sheet


@dataclass(frozen=True, kw_only=True)
class Transfer(Result):
    """change: mean |predicted - current| in [0, 1] of the latent at home, in the other scene, and of the real frames.
    donor, receiver: correlation of the transferred change map with the donor's and with the receiver's own painted
    change map. donor_receiver: of those two with each other, the chance level. picture: a PNG."""

    change_home: float
    change_away: float
    change_real: float
    donor: float
    receiver: float
    donor_receiver: float
    pairs: int
    picture: bytes


def transfer(lam: Lam, clips: Clips, *, examples: int = 6) -> Transfer:
    """clips: frames at 0, h. Every clip gives its latent to the one half the list away.

    Rows of the picture: the donor now, the donor's real future, the receiver now, the receiver with the donor's latent,
    and the two painted changes at the donor's and the receiver's (grey = none), enlarged threefold.
    """
    last = len(clips.offsets) - 1
    (z,) = latents(lam, clips.frames_NFCHW, [(0, last)], clips.instruction)
    now, future = clips.frames_NFCHW[:, 0], clips.frames_NFCHW[:, last]
    unit, target = now.float() / 255.0, future.float() / 255.0
    turn = len(clips) // 2
    state = clips.state(0)
    home = predict(lam, now, z, state) - unit
    there = None if state is None else state.roll(turn, dims=0)
    away = predict(lam, now.roll(turn, dims=0), z, there) - unit.roll(turn, dims=0)
    moved = (target - unit).abs().flatten(1).mean(dim=1)
    best = moved.argsort(descending=True)[:: max(1, len(clips) // (2 * examples))][:examples].tolist()
    receiver = unit.roll(turn, dims=0)
    lines = [[unit[k], target[k], receiver[k], receiver[k] + away[k], _grey(home[k]), _grey(away[k])] for k in best]
    return Transfer(
        change_home=home.abs().mean().item(),
        change_away=away.abs().mean().item(),
        change_real=moved.mean().item(),
        donor=_correlation(away, home),
        receiver=_correlation(away, home.roll(turn, dims=0)),
        donor_receiver=_correlation(home, home.roll(turn, dims=0)),
        pairs=len(clips),
        picture=sheet([list(column) for column in zip(*lines, strict=True)]),
    )


def _grey(change: Tensor) -> Tensor:
    return 0.5 + 1.5 * change


def _correlation(a: Tensor, b: Tensor) -> float:
    """Mean over samples of the correlation of two change maps (their absolute values, averaged over colour)."""
    a, b = (x.abs().mean(dim=1).flatten(1) for x in (a, b))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    norm = (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-12)
    return torch.mean((a * b).sum(dim=1) / norm).item()
