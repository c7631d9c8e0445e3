"""Our normalisation in the words of other packages, so that their formula gives our numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lara.data.actions.in_order import InOrder
from lara.data.actions.normalize import Normalizer, Statistics
from lara.data.card import DataCard
from lara.errors import ConfigError


def equivalent(statistics: Statistics, normalizer: Normalizer) -> dict[str, np.ndarray]:
    """min, max, mean, std, q01, q99 (each (D,) float64) of which the ones that the mode uses give exactly our map.

    Our normaliser does not stretch a dimension that stands still, and takes [min, max] for one that rests in 98 % of
    the steps; the packages of the field divide by what they find. So the used pair is written from our map. They do not
    cut states beyond `normalize.CLIP`, as the quantile mode does: a state so far out becomes as large as it is.
    """
    numbers = {k: np.asarray(getattr(statistics, k), np.float64) for k in ("min", "max", "mean", "std", "q01", "q99")}
    low, high = normalizer.offset - normalizer.scale, normalizer.offset + normalizer.scale
    used: dict[str, dict[str, np.ndarray]] = {
        "mean_std": {"mean": normalizer.offset, "std": normalizer.scale},
        "min_max": {"min": low, "max": high},
        "quantile": {"q01": low, "q99": high},
        "identity": {},
    }
    return {**numbers, **used[normalizer.mode]}


def both(card: DataCard) -> dict[str, dict[str, Any]]:
    """{"state": ..., "action": ...} of `equivalent`. Raises ConfigError for relative actions and poses."""
    if card.codec.pairing is not None:
        raise ConfigError(
            "relative actions are normalised step by step around the state, which this format's one row of statistics "
            "cannot say; export to=native, or train with data=lerobot's own data.actions (InOrder)"
        )
    if not isinstance(card.actions, InOrder):
        raise ConfigError(
            f"this format has no way back from {type(card.actions).__name__} to the robot's actions; export to=native, "
            "or train with data=lerobot's own data.actions (InOrder)"
        )
    return {
        "state": equivalent(card.statistics["state"], card.normalizer_of_states()),
        "action": equivalent(card.statistics["action"], card.normalizer_of_actions()),
    }
