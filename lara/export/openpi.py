"""A pi0 or pi0.5 policy for openpi's PyTorch path: weights, and the statistics of one asset.

Its model is described in Python there (a TrainConfig of that package), so there is no config.json to write. Facts:
Physical-Intelligence/openpi 15a9616a (Apache-2.0), shared/normalize.py, training/checkpoints.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from lara.data.card import DataCard
from lara.errors import ConfigError
from lara.export.statistics import both
from lara.store.records import to_json

_MODES = ("mean_std", "quantile")


def write_openpi(folder: Path, *, weights: dict[str, Tensor], card: DataCard) -> None:
    """Fills an empty folder; the asset's name is the robot's. Raises ConfigError where openpi has no such
    normaliser: it knows z-scores and quantiles, one of them for both state and action."""
    modes = {card.state_normalizer, card.action_normalizer}
    if len(modes) > 1 or not modes <= set(_MODES):
        raise ConfigError(
            f"openpi normalises state and action alike, by mean_std or quantile; this run has {card.state_normalizer} "
            f"and {card.action_normalizer}. Train with data.state_normalizer=quantile data.action_normalizer=quantile"
        )
    save_file(weights, folder / "model.safetensors")
    numbers = both(card)
    statistics: dict[str, Any] = {
        key: {name: numbers[ours][name].tolist() for name in ("mean", "std", "q01", "q99")}
        for key, ours in (("state", "state"), ("actions", "action"))
    }
    asset = folder / "assets" / card.embodiment
    asset.mkdir(parents=True)
    (asset / "norm_stats.json").write_bytes(to_json({"norm_stats": statistics}))
