"""A true linear probe: how much of the action is a linear function of the latent (CoMo's LP-MSE; LAOM's probe).

LARY calls an MLP its regression; this one has no hidden layer, so it cannot repair a bad latent by capacity. A ridge in
closed form: exact, no learning rate. Its strength is chosen on episodes of the fitted side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lara.probes.clips import Clips
from lara.probes.regression import Regression, inner_split, regress

STRENGTHS = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def linear_probe(
    fit_features: Mapping[str, Tensor], fit_clips: Clips, test_features: Mapping[str, Tensor], test_clips: Clips
) -> Regression:
    """Ridge regression of the standardised action chunk on each kind of features."""
    return regress("linear", ridge, fit_features, fit_clips, test_features, test_clips)


def ridge(
    x_NK: Float[Tensor, "N K"],
    y_NO: Float[Tensor, "N O"],
    episode_N: Int[Tensor, " N"],
    x_MK: Float[Tensor, "M K"],
    *,
    strengths: Sequence[float] = STRENGTHS,
) -> Float[Tensor, "M O"]:
    """Predictions for x_MK of W = argmin |y - x W|^2 / N + lambda |W|^2, features standardised, an intercept beside.

    lambda = strength * mean feature variance; the strength is the best of `strengths` on an inner split by episode.
    """
    inner = inner_split(episode_N)
    tried = solve(x_NK[~inner], y_NO[~inner], x_NK[inner], strengths)
    errors = [(p - y_NO[inner].double()).square().sum().item() for p in tried]
    return solve(x_NK, y_NO, x_MK, [strengths[errors.index(min(errors))]])[0].to(y_NO.dtype)


def solve(x_NK: Tensor, y_NO: Tensor, x_MK: Tensor, strengths: Sequence[float]) -> list[Tensor]:
    """Predictions (M, O), float64, for each strength, from one singular value decomposition."""
    x, y = x_NK.double(), y_NO.double()
    mean, std = x.mean(dim=0), x.std(dim=0)
    # a constant feature is no feature; dividing by its rounding error would make one of it
    scale = torch.where(std > 1e-8, 1.0 / std.clamp(min=1e-8), torch.zeros_like(std))
    u, s, vt = torch.linalg.svd((x - mean) * scale, full_matrices=False)
    projected = u.T @ (y - y.mean(dim=0))
    test = (x_MK.double() - mean) * scale @ vt.T
    spread = s.square().sum() / max(1, int((std > 1e-8).sum()))
    if spread == 0:
        return [y.mean(dim=0).expand(len(x_MK), -1) for _ in strengths]
    return [test @ (projected * (s / (s.square() + k * spread))[:, None]) + y.mean(dim=0) for k in strengths]
