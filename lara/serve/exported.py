"""A folder that holds one policy and what it takes to serve it, and nothing of what trained it.

config.json          {"format": ..., "schema": 1, "system": how to build it}
policy.safetensors   its weights     data.json   the data card: cameras, statistics, units
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lara.build import build
from lara.data.card import DataCard
from lara.errors import CheckpointError
from lara.meta import filled_elsewhere
from lara.store.records import read_json, to_json
from lara.store.tensors import load_tensors, save_tensors

FORMAT, SCHEMA = "lara policy", 1


def is_exported(path: Path) -> bool:
    """Whether a folder is of this kind (and no run)."""
    return (path / "policy.safetensors").is_file() and (path / "config.json").is_file()


def write_exported(folder: Path, *, system: dict[str, Any], policy: nn.Module, card: DataCard) -> None:
    """Fills an empty folder. system: the run's configuration of it; LAM, alignment and adapters are left out."""
    plain = {key: None if key in ("lam", "align") else value for key, value in system.items() if key != "tuning"}
    save_tensors(folder / "policy.safetensors", policy.state_dict())
    (folder / "data.json").write_bytes(to_json(card.to_dict()))
    (folder / "config.json").write_bytes(to_json({"format": FORMAT, "schema": SCHEMA, "system": plain}))


def read_exported(folder: Path) -> tuple[Any, DataCard]:
    """The system (policy alone, eval mode) and its data card. Only this package's classes are built.

    Raises CheckpointError for another format, or weights that do not fill the policy completely.
    """
    config = read_json(folder / "config.json", CheckpointError)
    if not isinstance(config, dict) or (config.get("format"), config.get("schema")) != (FORMAT, SCHEMA):
        raise CheckpointError(
            f"{folder}: expected a config.json of format '{FORMAT}' {SCHEMA}; was it exported to=native?"
        )
    with filled_elsewhere():
        system = build(config["system"], "model")
    own, weights = system.policy.state_dict(), load_tensors(folder / "policy.safetensors")
    wrong = sorted(set(own) ^ set(weights)) + [k for k in own if k in weights and own[k].shape != weights[k].shape]
    if wrong:
        raise CheckpointError(f"{folder}: {len(wrong)} of {len(own)} tensors do not fit its own config: {wrong[:5]}")
    with torch.no_grad():
        system.policy.load_state_dict(weights)
    return system.eval(), DataCard.from_dict(read_json(folder / "data.json", CheckpointError))
