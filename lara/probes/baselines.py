"""What a latent has to beat."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor


def others(z: Tensor, *, turn: int = 1, turns: int = 2) -> Tensor:
    """ "other_latent": every sample (first axis, two or more) gets another one's latent; the same ones at every call.

    The latents themselves are the model's own, so that only their belonging is lost, not their distribution. All
    samples stand in one random circle that is turned `turn / turns` of the way round: neighbours in the list, of one
    episode or task, do not move together.
    """
    circle = torch.randperm(len(z), generator=torch.Generator().manual_seed(0)).to(z.device)
    out = torch.empty_like(z)
    out[circle] = z[circle.roll(max(1, turn * len(z) // turns))]
    return out


def small(images: UInt8[Tensor, "N C h w"], *, side: int = 12) -> Float[Tensor, "N K"]:
    """Images in [0, 1] averaged down to side x side (or left at their size when smaller), flat."""
    side = min(side, *images.shape[-2:])
    return F.adaptive_avg_pool2d(images.float() / 255.0, side).flatten(1)


def pixel_difference(
    now: UInt8[Tensor, "N C h w"], future: UInt8[Tensor, "N C h w"], *, side: int = 12
) -> Float[Tensor, "N K"]:
    """The downsampled change of the picture: a latent action without any learning."""
    return small(future, side=side) - small(now, side=side)


def paint_difference(
    now: UInt8[Tensor, "N C h w"], difference: Float[Tensor, "N K"], *, side: int = 12
) -> Float[Tensor, "N C h w"]:
    """The frame in [0, 1] that a `pixel_difference` of this side paints: itself enlarged and added to `now`.

    What a decoder has to beat: 3 * side^2 numbers that hold the change in plain sight, without any learning.
    """
    side = min(side, *now.shape[-2:])
    change = difference.unflatten(1, (now.shape[1], side, side))
    large = F.interpolate(change, size=now.shape[-2:], mode="bilinear", align_corners=False)
    return (now.float() / 255.0 + large).clamp(0, 1)
