"""The action term."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from lara.ops.masks import masked_mse


def velocity_mse(
    velocity_BHA: Float[Tensor, "B H A"], target_BHA: Float[Tensor, "B H A"], mask_BHA: Bool[Tensor, "B H A"]
) -> Float[Tensor, ""]:
    """|v_theta - (a - eps)|^2 averaged over real action numbers (003, Eq. 1)."""
    return masked_mse(velocity_BHA.float(), target_BHA.float(), mask_BHA)
