"""The laws of a group, as losses on latents of the frames a < b < c (ALAM 004, Eqs. 2 and 7; RotVLA 001, Eqs. 9-10).

One definition for every group: the additive one of ALAM, the rotations of RotVLA, and a rotation gauge. The distance is
the MEAN squared difference over components and real samples, as is every squared error here: ALAM's Eqs. 5, 7 and 8 are
written as squared norms, and conf/stage/lam_alam.yaml says why they are read as means. Gradients flow into both sides.
All take (B, Q, D) and the mask of samples whose frames are all real.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lara.latents.groups import Group
from lara.ops.masks import masked_mean, masked_mse


def composition(
    space: Group,
    z_ab: Float[Tensor, "B Q D"],
    z_bc: Float[Tensor, "B Q D"],
    z_ac: Float[Tensor, "B Q D"],
    mask_B: Bool[Tensor, " B"],
) -> Float[Tensor, ""]:
    """|z_ac - compose(z_ab, z_bc)|^2: two steps make the long one."""
    z_ab, z_bc, z_ac = _real(mask_B, z_ab, z_bc, z_ac)
    return _distance(z_ac, space.compose(z_ab, z_bc), mask_B)


def reversal(
    space: Group, z_ab: Float[Tensor, "B Q D"], z_ba: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """|z_ba - inverse(z_ab)|^2: the way back undoes the way there."""
    z_ab, z_ba = _real(mask_B, z_ab, z_ba)
    return _distance(z_ba, space.inverse(z_ab), mask_B)


def identity_anchor(space: Group, z_aa: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """|z_aa - identity|^2: between a frame and itself nothing happens."""
    (z_aa,) = _real(mask_B, z_aa)
    return _distance(z_aa, space.identity(z_aa), mask_B)


def relative(error: Float[Tensor, ""], z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """error / mean z^2 over components: a law's error without the unit of z.

    A law on R^D is also won by shrinking z to 0; this figure then stays where it was, and as a loss (gradients flow
    into both numbers) it never asks for it. About 1: the law's prediction is no better than 0. For rotations
    mean z^2 = 1/N, and the figure is |difference|_F^2 / N, in [0, 4].
    """
    (z_BQD,) = _real(mask_B, z_BQD)
    # a latent of exactly 0 obeys every law; the floor keeps its gradient finite
    return error / masked_mean(z_BQD.float().square(), mask_B[:, None, None]).clamp(min=torch.finfo(torch.float32).eps)


def _real(mask_B: Tensor, *latents: Tensor) -> tuple[Tensor, ...]:
    # before the group's operation, whose backward would multiply a masked NaN by a zero gradient and hand on NaN
    return tuple(torch.where(mask_B[:, None, None], z, torch.zeros_like(z)) for z in latents)


def _distance(a: Tensor, b: Tensor, mask_B: Tensor) -> Tensor:
    # differences of nearly equal latents lose all their digits in bf16
    a, b = (x if x.dtype == torch.float64 else x.float() for x in (a, b))
    return masked_mse(a, b, mask_B[:, None, None])
