"""What action probes share: standardised targets, the features to compare, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lara.errors import DataError
from lara.probes.baselines import others, pixel_difference, small
from lara.probes.clips import Clips, Lam, latents
from lara.probes.result import Result

# (features and targets to fit, episode of each row, features to predict from) -> predicted targets
Fit = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Score(Result):
    """mse: of standardised actions, over all steps and dims; predicting the mean gives about 1. r2: 1 - SSE / SST about
    the fitted side's mean. r2_per_step: the same for each of the H steps of the chunk."""

    mse: float
    r2: float
    r2_per_step: list[float]


@dataclass(frozen=True, kw_only=True)
class Regression(Result):
    """probe: "linear" or "mlp". horizon: H, in steps. dims: action dims that vary at all, the only ones predicted.
    Episodes on the two sides are different ones. rows: by features."""

    probe: str
    horizon: int
    dims: list[int]
    fit_pairs: int
    fit_episodes: int
    test_pairs: int
    test_episodes: int
    rows: dict[str, Score]


def features(lam: Lam, clips: Clips) -> dict[str, Float[Tensor, "N K"]]:
    """The model's latent (flat), the same after the bottleneck, and the baselines, for the first and last frame.

    "current_frame" says how much of the action the scene alone tells; "nothing" is a constant.
    """
    last = len(clips.offsets) - 1
    (z,) = latents(lam, clips.frames_NFCHW, [(0, last)], clips.instruction)
    with torch.no_grad():
        through = lam.space.bottleneck(z, torch.ones(len(z), dtype=torch.bool)).z
    now, future = clips.frames_NFCHW[:, 0], clips.frames_NFCHW[:, last]
    # of a latent in two parts, each by itself: the motion should tell the action, the scene need not
    parts = lam.space.named_parts(z)
    return {
        "model": z.flatten(1).float(),
        **{f"{name}_tokens": part.flatten(1).float() for name, part in parts.items()},
        "after_bottleneck": through.flatten(1).float(),
        "pixel_difference": pixel_difference(now, future),
        "current_frame": small(now),
        "other_latent": others(z).flatten(1).float(),
        "nothing": torch.zeros(len(z), 1),
    }


def regress(
    probe: str,
    fit: Fit,
    fit_features: Mapping[str, Tensor],
    fit_clips: Clips,
    test_features: Mapping[str, Tensor],
    test_clips: Clips,
) -> Regression:
    """Fits every kind of features to the chunk of actions on one side, scores it on the other.

    Raises DataError when the sides share an episode, when the fitted side has fewer than two, or when no action moves
    or there are none (video).
    """
    if fit_clips.actions_NHA.shape[2] == 0:
        raise DataError("this data has no actions to predict; say data_of=<a run on a robot's data>")
    episodes = set(fit_clips.episode_N.tolist()), set(test_clips.episode_N.tolist())
    if episodes[0] & episodes[1] or len(episodes[0]) < 2:
        raise DataError(
            f"a probe is fitted on some episodes and scored on others: expected at least two and none in common, got "
            f"{len(episodes[0])} and {len(episodes[1])}, {len(episodes[0] & episodes[1])} of them on both sides"
        )
    actions = fit_clips.actions_NHA.flatten(0, 1)
    mean, std = actions.mean(dim=0), actions.std(dim=0)
    dims = (std > 1e-6).nonzero().flatten()
    if len(dims) == 0:
        raise DataError("no action dimension varies in the episodes that the probe is fitted on")

    def standardised(clips: Clips) -> Tensor:
        return ((clips.actions_NHA - mean) / std.clamp(min=1e-6))[..., dims]

    y_fit, y_test = standardised(fit_clips), standardised(test_clips)
    base = y_fit.mean(dim=0)
    rows = {}
    for name, x in fit_features.items():
        predicted = fit(x, y_fit.flatten(1), fit_clips.episode_N, test_features[name]).unflatten(1, y_fit.shape[1:])
        rows[name] = score(predicted, y_test, base)
    return Regression(
        probe=probe,
        horizon=y_fit.shape[1],
        dims=dims.tolist(),
        fit_pairs=len(fit_clips),
        fit_episodes=len(episodes[0]),
        test_pairs=len(test_clips),
        test_episodes=len(episodes[1]),
        rows=rows,
    )


def score(
    predicted_NHA: Float[Tensor, "N H A"], target_NHA: Float[Tensor, "N H A"], base_HA: Float[Tensor, "H A"]
) -> Score:
    """base_HA: what is predicted without any features."""
    error = (predicted_NHA - target_NHA).square()
    spread = (target_NHA - base_HA).square()
    return Score(
        mse=error.mean().item(),
        r2=(1 - error.sum() / spread.sum()).item(),
        r2_per_step=(1 - error.sum(dim=(0, 2)) / spread.sum(dim=(0, 2))).tolist(),
    )


def inner_split(episode_N: Int[Tensor, " N"]) -> Tensor:
    """(N,) True for the rows that choose a probe's own settings: every fifth episode, at least one, never all."""
    order = episode_N.unique()
    return torch.isin(episode_N, order[::5] if len(order) > 1 else order[:0])
