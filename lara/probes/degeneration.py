"""Is the latent a motion, or a picture of the target? (RotVLA 001, Table 2)

    A = z(I_0, I_h);   recon = D(I_0, A);   imagined = D(I_h, A)      the same action once more, from where it led

A latent that holds the target's appearance paints the target again: `imagined` stays at `recon`. A motion goes on.
The reverse does not hold: a decoder that adds a painted change to its frame adds it a second time, which makes
`imagined` differ from `recon` without any motion. Look at the picture before comparing distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lara.errors import ConfigError
from lara.probes.baselines import others, paint_difference, pixel_difference
from lara.probes.clips import Clips, Lam, latents, predict
from lara.probes.result import Result
from lara.probes.sheet import sheet


@dataclass(frozen=True, kw_only=True)
class Distances(Result):
    """Mean squared errors of pixels in [0, 1].

    recon_target:    recon to I_h; small is good.         imagined_recon, imagined_target: 0 means degenerate.
    imagined_second: imagined to I_2h, where a steady motion would have led (our addition).
    """

    recon_target: float
    imagined_recon: float
    imagined_target: float
    imagined_second: float


@dataclass(frozen=True, kw_only=True)
class Degeneration(Result):
    """horizon: h in steps. moved: mean squared change from I_0 to I_h, the yardstick. rows: by latent.

    Besides the model and other samples' latents stand the downsampled pixel difference, a motion without learning, and
    the two trivial answers: "copy_frame" paints what it is given, "copy_target" is the complete degeneration.
    picture: a PNG of the model's, one column per clip: I_0, I_h, recon, imagined, I_2h.
    """

    horizon: int
    clips: int
    moved: float
    rows: dict[str, Distances]
    picture: bytes


def degeneration(lam: Lam, clips: Clips, *, examples: int = 8) -> Degeneration:
    """clips: frames at 0, h, 2h. Raises ConfigError for other offsets. examples: clips in the picture, from those that
    move most down to the median."""
    if len(clips.offsets) != 3 or clips.offsets[2] != 2 * clips.offsets[1]:
        raise ConfigError(f"expected frames at 0, h, 2h, got {clips.offsets}")
    now, target, second = clips.frames_NFCHW.unbind(dim=1)
    (z,) = latents(lam, clips.frames_NFCHW, [(0, 1)], clips.instruction)
    unit = [x.float() / 255.0 for x in (now, target, second)]
    rows, painted = {}, {}
    for name, latent in (("model", z), ("other_latent", others(z))):
        painted[name] = (predict(lam, now, latent, clips.state(0)), predict(lam, target, latent, clips.state(1)))
        rows[name] = _distances(*painted[name], *unit[1:])
    change = pixel_difference(now, target)
    recon, imagined = (paint_difference(frame, change) for frame in (now, target))
    rows["pixel_difference"] = _distances(recon, imagined, *unit[1:])
    rows["copy_frame"] = _distances(unit[0], unit[1], *unit[1:])
    rows["copy_target"] = _distances(unit[1], unit[1], *unit[1:])
    moved = (unit[0] - unit[1]).square().flatten(1).mean(dim=1)
    shown = moved.argsort(descending=True)[:: max(1, len(clips) // (2 * examples))][:examples]
    return Degeneration(
        horizon=clips.offsets[1],
        clips=len(clips),
        moved=moved.mean().item(),
        rows=rows,
        picture=sheet([list(x[shown]) for x in (unit[0], unit[1], *painted["model"], unit[2])]),
    )


def _distances(recon: Tensor, imagined: Tensor, target: Tensor, second: Tensor) -> Distances:
    return Distances(
        recon_target=_mse(recon, target),
        imagined_recon=_mse(imagined, recon),
        imagined_target=_mse(imagined, target),
        imagined_second=_mse(imagined, second),
    )


def _mse(a: Tensor, b: Tensor) -> float:
    return torch.mean((a - b).square()).item()
