"""A GR00T policy for Isaac-GR00T: its weights and this robot's statistics over the records of the base checkpoint.

What the model is (config.json, processor, embodiment ids) does not change in post-training, so it is taken from the
folder that the run started from. The robot has one modality key for its state and one for its action, "state" and
"action", over all dims in order. Facts: NVIDIA/Isaac-GR00T (Apache-2.0), files of the public N1.5, N1.6 and N1.7
checkpoints.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from lara.data.card import DataCard
from lara.errors import CheckpointError, ConfigError
from lara.export.statistics import both
from lara.store.records import read_json, to_json

_RECORDS = ("config.json", "processor_config.json", "embodiment_id.json")
_KINDS = ("gr00t_n1_5", "gr00t_n1_6", "gr00t_n1_7")


def write_groot(folder: Path, *, kind: str, weights: dict[str, Tensor], card: DataCard, base: Path | None) -> None:
    """Fills an empty folder. kind: gr00t_n1_5, gr00t_n1_6 or gr00t_n1_7. base: folder of the checkpoint the run started
    from. Raises ConfigError without it, CheckpointError when it is no such folder."""
    if kind not in _KINDS:
        raise ConfigError(f"there is no GR00T '{kind}'; there are {', '.join(_KINDS)}")
    if base is None:
        raise ConfigError("to=groot copies config and processor records from the base checkpoint; give base=FOLDER")
    if not (base / "config.json").is_file():
        raise CheckpointError(f"{base} has no config.json; give base= the folder of the GR00T checkpoint")
    for name in _RECORDS:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    numbers = both(card)
    robot: dict[str, Any] = {
        side: {side: {name: values.tolist() for name, values in numbers[side].items()}} for side in ("state", "action")
    }
    if kind == "gr00t_n1_5":
        place, entry = Path("experiment_cfg/metadata.json"), {"statistics": robot, "modalities": _modalities(card)}
    else:
        place, entry = Path("statistics.json"), robot
    known = read_json(base / place, CheckpointError) if (base / place).is_file() else {}
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(to_json({**known, card.embodiment: entry}))


def _modalities(card: DataCard) -> dict[str, Any]:
    """N1.5's metadata of the robot's streams."""
    size = [card.image_size, card.image_size]
    dims = {"state": len(card.robot.observation.state), "action": card.robot.action.dim}
    return {
        "video": {camera: {"resolution": size, "channels": 3, "fps": card.fps} for camera in card.cameras},
        **{
            side: {side: {"absolute": True, "rotation_type": None, "shape": [dim], "continuous": True}}
            for side, dim in dims.items()
        },
    }
