"""Means over what is real: every loss term has its own mask and its own mean."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Float[Tensor, ""]:
    """Mean of `values` where `mask` (broadcastable to it) is True; exactly 0, with zero gradient, where nothing is.

    Masked values may be anything, NaN and inf included: they are replaced before the sum, so neither the value nor
    the gradient can leak through a multiplication by zero.
    """
    mask = mask.expand_as(values)
    total = torch.where(mask, values, torch.zeros_like(values)).sum()
    return total / mask.sum().clamp(min=1)


def masked_mse(a: Tensor, b: Tensor, mask: Tensor) -> Float[Tensor, ""]:
    """Mean of (a - b)^2 where `mask` (broadcastable to them) is True; 0 where nothing is.

    The difference is replaced before it is squared: the square's backward would multiply a masked NaN or inf by a zero
    gradient, and hand on NaN.
    """
    difference = torch.where(mask, a - b, torch.zeros_like(a))
    return masked_mean(difference.square(), mask)


def last_valid_step(mask_BH: Bool[Tensor, "B H"]) -> Int[Tensor, " B"]:
    """Index of the last True step of each row: the row [1 1 1 0] gives 2, [1 1 1 1] gives 3.

    Not `-1`: where a robot's horizon (or the episode) ends before the model's, the last slot is padding. A row without
    any True gives 0; such samples must be masked out by `mask_BH.any(1)`.
    """
    steps = torch.arange(mask_BH.shape[1], device=mask_BH.device)
    return torch.where(mask_BH, steps, torch.zeros_like(steps)).amax(dim=1)


def take_step(x_BTE: Float[Tensor, "B T E"], index_B: Int[Tensor, " B"]) -> Float[Tensor, "B E"]:
    """x[b, index[b]] for every sample b."""
    return x_BTE.gather(1, index_B[:, None, None].expand(-1, 1, x_BTE.shape[2])).squeeze(1)
