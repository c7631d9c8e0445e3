"""How well does a latent paint the future, directly and when short latents are composed? (004 section 4.1, Fig. 4B)

    direct      D(o_a, z_a^{tk})          cumulative   D(o_a, z_1 * ... * z_t), t consecutive k-step latents

Beside them: copying the current frame, the latents of other samples, and the downsampled pixel difference added to the
current frame (which composes exactly, so that direct and cumulative are one).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from lara.ops.images import psnr
from lara.probes.algebra import group_of
from lara.probes.baselines import others, paint_difference, pixel_difference
from lara.probes.clips import BATCH, Clips, Lam, latents, predict
from lara.probes.result import Result
from lara.probes.ssim import ssim

ROWS = ("direct", "cumulative", "other_latent", "copy_frame", "pixel_difference")


@dataclass(frozen=True, kw_only=True)
class Quality(Result):
    """One entry per horizon t = 1..T: PSNR in dB, SSIM, LPIPS (empty without a perceptual network)."""

    psnr: list[float]
    ssim: list[float]
    lpips: list[float]


@dataclass(frozen=True, kw_only=True)
class Horizons(Result):
    """horizons: t*k in steps."""

    horizons: list[int]
    clips: int
    rows: dict[str, Quality]


def horizons(lam: Lam, clips: Clips, *, perceptual: nn.Module | None = None) -> Horizons:
    """clips: frames at 0, k, 2k, ..., Tk. perceptual: (prediction, target, mask) in [0, 1] -> mean LPIPS."""
    count = len(clips.offsets) - 1
    z = latents(
        lam,
        clips.frames_NFCHW,
        [(0, t) for t in range(1, count + 1)] + [(t - 1, t) for t in range(1, count + 1)],
        clips.instruction,
    )
    group, _ = group_of(lam, clips)
    now, state = clips.frame(0), clips.state(0)
    measured: dict[str, list[list[float]]] = {n: [] for n in ROWS}
    for t in range(count):
        target = clips.frames_NFCHW[:, t + 1].float() / 255.0
        composed = reduce(group.compose, list(z[count : count + t + 1]))
        measured["direct"].append(_scores(predict(lam, now, z[t], state), target, perceptual))
        measured["cumulative"].append(_scores(predict(lam, now, composed, state), target, perceptual))
        measured["other_latent"].append(_scores(predict(lam, now, others(z[t]), state), target, perceptual))
        measured["copy_frame"].append(_scores(now.float() / 255.0, target, perceptual))
        change = pixel_difference(now, clips.frames_NFCHW[:, t + 1])
        measured["pixel_difference"].append(_scores(paint_difference(now, change), target, perceptual))
    rows = {
        name: Quality(
            psnr=[s[0] for s in scores], ssim=[s[1] for s in scores], lpips=[x for s in scores for x in s[2:]]
        )
        for name, scores in measured.items()
    }
    return Horizons(horizons=list(clips.offsets[1:]), clips=len(clips), rows=rows)


@torch.no_grad()
def _scores(prediction: Tensor, target: Tensor, perceptual: nn.Module | None) -> list[float]:
    scores = [psnr(prediction, target).mean().item(), ssim(prediction, target).mean().item()]
    if perceptual is not None:
        total = 0.0
        for p, t in zip(prediction.split(BATCH), target.split(BATCH), strict=True):
            total += perceptual(p, t, torch.ones(len(p), dtype=torch.bool)).item() * len(p)
        scores.append(total / len(prediction))
    return scores
