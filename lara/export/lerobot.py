"""A policy in lerobot's format (0.4 and later): config, weights, and two processor pipelines with their statistics.

Facts: huggingface/lerobot v0.4.4 (Apache-2.0), policies/*/configuration_*.py, policies/*/processor_*.py,
processor/{pipeline,normalize_processor}.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from lara.data.card import DataCard
from lara.errors import ConfigError
from lara.export.statistics import both
from lara.policy.hosts.families import pipelines
from lara.store.records import to_json

MODES = {"mean_std": "MEAN_STD", "min_max": "MIN_MAX", "quantile": "QUANTILES", "identity": "IDENTITY"}
EPSILON = 0.0  # lerobot adds it to a standard deviation; ours is never 0 (see export.statistics)


def write_lerobot(folder: Path, *, kind: str, weights: dict[str, Tensor], card: DataCard) -> None:
    """Fills an empty folder. kind: one that a family of hosts has a pipeline for. Raises ConfigError for another."""
    known = pipelines()
    if kind not in known:
        raise ConfigError(f"lerobot's {kind} is not written; there are {', '.join(known)}")
    state, action = len(card.robot.observation.state), card.robot.action.dim
    visual = {
        f"observation.images.{camera}": {"type": "VISUAL", "shape": [3, card.image_size, card.image_size]}
        for camera in card.cameras
    }
    inputs = {**visual, "observation.state": {"type": "STATE", "shape": [state]}}
    outputs = {"action": {"type": "ACTION", "shape": [action]}}
    modes = {"VISUAL": "IDENTITY", "STATE": MODES[card.state_normalizer], "ACTION": MODES[card.action_normalizer]}
    config = {
        "type": kind,
        "n_obs_steps": 1,
        "input_features": inputs,
        "output_features": outputs,
        "chunk_size": card.horizon,
        "n_action_steps": card.horizon,
        "max_state_dim": card.state_dim_max,
        "max_action_dim": card.action_dim_max,
        "normalization_mapping": modes,
    }
    (folder / "config.json").write_bytes(to_json(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    numbers = both(card)
    statistics = {
        f"{ours}.{name}": torch.from_numpy(values).float()
        for ours, key in (("observation.state", "state"), ("action", "action"))
        for name, values in numbers[key].items()
    }
    normalise = {"eps": EPSILON, "features": {**inputs, **outputs}, "norm_map": modes}
    text = known[kind].steps(state_dims=card.state_dim_max)
    before = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
        {"registry_name": "normalizer_processor", "config": normalise},
        *text,
        _device("cpu"),
    ]
    if not known[kind].state_in_prompt:  # these normalise last, as their own pipelines do
        before = [*before[:2], *text, _device("cpu"), before[2]]
    after = [
        {"registry_name": "unnormalizer_processor", "config": {**normalise, "features": outputs}},
        _device("cpu"),
    ]
    _pipeline(folder, "policy_preprocessor", before, statistics)
    _pipeline(folder, "policy_postprocessor", after, statistics)


def _device(name: str) -> dict[str, Any]:
    return {"registry_name": "device_processor", "config": {"device": name, "float_dtype": None}}


def _pipeline(folder: Path, name: str, steps: list[dict[str, Any]], statistics: dict[str, Tensor]) -> None:
    written = []
    for place, step in enumerate(steps):
        if step["registry_name"].endswith("normalizer_processor"):
            file = f"{name}_step_{place}_{step['registry_name']}.safetensors"
            save_file(statistics, folder / file)
            step = {**step, "state_file": file}
        written.append(step)
    (folder / f"{name}.json").write_bytes(to_json({"name": name, "steps": written}))
