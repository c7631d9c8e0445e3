"""Which row of a GR00T checkpoint's tables belongs to which robot.

State encoder, action encoder and action decoder hold one set of weights per robot; a robot that is trained in another's
row starts from the wrong weights without any error. So a policy names its robot by the vendor's tag, and the tables of
tags stand in conf/policy/groot_*_paper.yaml (facts: NVIDIA Isaac-GR00T).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lara.errors import CheckpointError, ConfigError, nearest
from lara.policy.hosts.shared.safetensors_files import json_object

RECORD = "embodiment_id.json"


def require_known(embodiments: Mapping[str, int], embodiment: str, *, slots: int) -> None:
    """Raises ConfigError for a tag that is not in the table, and for rows that the head does not have.

    Args:
        embodiments: tag -> row.
        embodiment: the tag of the robot that is trained.
        slots: rows of the head's tables.
    """
    if embodiment not in embodiments:
        raise ConfigError(
            f"policy.embodiment={embodiment} is not in policy.embodiments. {nearest(embodiment, embodiments)}; "
            "new_embodiment is for a robot that the checkpoint does not know"
        )
    outside = {tag: row for tag, row in embodiments.items() if not 0 <= row < slots}
    if outside:
        raise ConfigError(f"this GR00T head has the rows 0 to {slots - 1} for robots, policy.embodiments has {outside}")


def require_the_checkpoint_s(embodiments: Mapping[str, int], folder: Path) -> None:
    """Raises CheckpointError where the folder's own record gives a tag another row; without a record it passes."""
    if not (folder / RECORD).is_file():
        return
    record = json_object(folder / RECORD)
    wrong = {tag: record[tag] for tag, row in embodiments.items() if tag in record and record[tag] != row}
    if wrong:
        settings = " ".join(f"policy.embodiments.{tag}={row}" for tag, row in wrong.items())
        raise CheckpointError(f"{folder / RECORD} has other rows for some robots than this policy; set {settings}")
