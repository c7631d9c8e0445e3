"""A released Moto or LARA latent motion tokenizer -> a checkpoint of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lara.config.build import build
from lara.errors import CheckpointError
from lara.lam.moto import IMAGENET_MEAN, IMAGENET_STD, load_moto, moto_config
from lara.lam.moto_files import read_tensors
from lara.store.checkpoint import step_folders, write_checkpoint
from lara.systems.lam import LamSystem
from lara.train.parts import part_paths
from lara.train.versions import versions


def import_moto(source: Path, output: Path, *, encoder: str = "hub", unit_pixels: bool = False) -> Path:
    """Writes <output>/checkpoints/step-00000000 and returns it. Raises CheckpointError when `source` does not fit or
    `output` already holds a checkpoint."""
    if step_folders(output / "checkpoints"):
        raise CheckpointError(f"{output} already holds a checkpoint; give another output folder")
    pixels: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    if not unit_pixels:
        pixels = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    config = moto_config(source, **pixels)
    config["encoder"]["weights"] = encoder
    read_tensors(source)  # what is wrong with them is said before an encoder is fetched
    lam = load_moto(source, encoder=build(config["encoder"], "model"), **pixels)
    system = LamSystem(lam=lam)
    # the checkpoint holds the encoder's weights too: who loads it need not download them again
    config["encoder"]["weights"] = "random"
    return write_checkpoint(
        output,
        step=0,
        tensors={"system": system.state_dict(), "optimizer": {}, "rng": {}},
        records={
            "config": {
                "name": output.name,
                "imported_from": str(source),
                "system": {"_target_": "lara.systems.lam.LamSystem", "lam": config},
            },
            "parts": part_paths(system),
            "train": {"step": 0},
            "optimizer": {},
            "data": {},
            "versions": versions(torch.device("cpu"), 1),
        },
        keep_last=1,
    )
