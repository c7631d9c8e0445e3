"""The same pair twice, a frame with itself, and whether latents hold the scene instead of the motion."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from lara.errors import ConfigError
from lara.probes.algebra import group_of
from lara.probes.baselines import others, pixel_difference, small
from lara.probes.clips import Clips, Lam, latents
from lara.probes.result import Result


@dataclass(frozen=True, kw_only=True)
class Determinism(Result):
    """max_difference: largest |z - z'| of the same pair encoded twice; anything but 0 makes labels irreproducible.
    identity: E||z(x, x) - e|| / E||z(x, y) - e||, e = 0 or the group's unit; 0 is ideal.
    s_pcfc: mean cosine of z(past -> current) and z(future -> current) (CoMo). Those motions point against each
        other, so a high value says that z holds what stays the same; rows give it for the baselines too."""

    max_difference: float
    identity: float
    s_pcfc: dict[str, float]
    clips: int


def determinism(lam: Lam, clips: Clips) -> Determinism:
    """clips: frames at 0, h, 2h (past, current, future). Raises ConfigError for another number of frames."""
    if len(clips.offsets) != 3:
        raise ConfigError(f"expected frames at 0, h, 2h, got {clips.offsets}")
    pairs = [(0, 1), (2, 1), (0, 0)]
    z = latents(lam, clips.frames_NFCHW, pairs, clips.instruction)
    again = latents(lam, clips.frames_NFCHW, pairs, clips.instruction)
    ahead, behind, same = z
    group, _ = group_of(lam, clips)
    e = group.identity(ahead)
    past, current, future = clips.frames_NFCHW.unbind(dim=1)
    return Determinism(
        max_difference=(z - again).abs().max().item(),
        identity=((same - e).flatten(1).norm(dim=1).mean() / (ahead - e).flatten(1).norm(dim=1).mean()).item(),
        s_pcfc={
            "model": _cosine(ahead, behind),
            "other_latent": _cosine(ahead, others(behind)),
            "pixel_difference": _cosine(pixel_difference(past, current), pixel_difference(future, current)),
            "target_frame": _cosine(small(current), small(current)),
        },
        clips=len(clips),
    )


def _cosine(a: Tensor, b: Tensor) -> float:
    return F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).mean().item()
