"""How wrong a predicted velocity is, for actions and for latents that are generated beside them."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from lara.ops.masks import masked_mean, masked_mse


def velocity_mse(
    velocity_BHA: Float[Tensor, "B H A"], target_BHA: Float[Tensor, "B H A"], mask_BHA: Bool[Tensor, "B H A"]
) -> Float[Tensor, ""]:
    """|v_theta - (a - eps)|^2 averaged over real action numbers (003, Eq. 1)."""
    return masked_mse(velocity_BHA.float(), target_BHA.float(), mask_BHA)


def velocity_l1(
    velocity_BHA: Float[Tensor, "B H A"], target_BHA: Float[Tensor, "B H A"], mask_BHA: Bool[Tensor, "B H A"]
) -> Float[Tensor, ""]:
    """|v_theta - target| averaged over real numbers (ALAM 004, Eq. 13, as a mean)."""
    return masked_mean((velocity_BHA.float() - target_BHA.float()).abs(), mask_BHA)


class VelocityMSE:
    """`velocity_mse` as a configuration names it, for a diffusion variant of a system that otherwise takes L1."""

    buildable: ClassVar[str] = "model"

    def __call__(self, velocity_BHA: Tensor, target_BHA: Tensor, mask_BHA: Tensor) -> Tensor:
        return velocity_mse(velocity_BHA, target_BHA, mask_BHA)
