"""What a LeRobotDataset says about its robot without being a robot's card: names that mean something, statistics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lara.data.robot import Known, RobotHints
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.keys import Keys, Part, Vector
from lara.data.sources.lerobot.meta_v2 import EPISODES_STATS, read_rows
from lara.data.sources.lerobot.modality import FILE
from lara.errors import DataError
from lara.store.records import read_json

_GRIPS = re.compile(r"grip|finger|jaw|claw|hand", re.IGNORECASE)
_DELTA = re.compile(r"(^|[._ ])(delta|d[xyz]|droll|dpitch|dyaw)([._ ]|$)|^delta", re.IGNORECASE)
_SPEED = re.compile(r"(^|[._ ])(vel|velocity)([._ ]|$)", re.IGNORECASE)
_TARGET = re.compile(r"\.pos$")  # lerobot's own robots command positions under these names

# GR00T's words with one meaning only; its quaternions have the scalar first, its 6D form takes rows, and its Euler
# angles come in several orders and frames, none of which a robot's card can say
_ROTATIONS = {"axis_angle": "axis_angle"}


def hints_of(root: Path, info: Mapping[str, Any], keys: Keys) -> RobotHints:
    """Nothing is guessed: what the files leave open stays None."""
    name = info.get("robot_type")
    return RobotHints(
        name=name if isinstance(name, str) and name.strip() else None,
        control=_control(keys.action),
        rotation=_rotation(keys.action),
        gripper=None,
        limits=recorded_limits(root, str(info["codebase_version"]), keys.action),
        slices=tuple((one.name, one.rotation, one.absolute) for one in keys.action.slices),
    )


def _control(action: Vector) -> Known | None:
    moving = [one for one in action.slices if not _GRIPS.search(one.name)]
    if moving and all(one.absolute is not None for one in moving):
        said = {one.absolute for one in moving}
        if len(said) == 1:
            return Known("absolute" if said == {True} else "delta", f"{FILE} says absolute: {str(said.pop()).lower()}")
        return None
    if action.slices or action.unnamed:
        return None
    for value, pattern in (("delta", _DELTA), ("velocity", _SPEED), ("absolute", _TARGET)):
        names = [name for name in action.names if not _GRIPS.search(name)]
        if names and all(pattern.search(name) for name in names):
            return Known(value, f"its actions are called {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}")
    return None


def _rotation(action: Vector) -> Known | None:
    forms = {one.rotation for one in action.slices if one.rotation is not None}
    if len(forms) == 1 and (form := _ROTATIONS.get(forms.pop())) is not None:
        return Known(form, f"{FILE} says so")
    return None


def recorded_limits(root: Path, version: str, action: Vector) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The least and the greatest of each action number as the recorder's statistics have them.

    None where they are missing, are of other columns, or are no numbers.
    """
    if not action.parts:
        return (), ()
    try:
        if (root / paths.STATS).exists():
            records = [read_json(root / paths.STATS, DataError)]
        elif version == "v2.1" and (root / EPISODES_STATS).exists():
            records = [row["stats"] for row in read_rows(root / EPISODES_STATS, ("stats",))]
        else:
            return None
    except DataError:
        return None  # statistics of strangers may hold NaN; the numbers themselves are then looked at
    found = [[_of(records, part, name, pick) for part in action.parts] for name, pick in (("min", min), ("max", max))]
    if any(part is None for group in found for part in group):
        return None
    low, high = (tuple(x for part in group for x in part or ()) for group in found)
    return (low, high) if all(a <= b for a, b in zip(low, high, strict=True)) else None


def _of(records: list[Any], part: Part, name: str, pick: Any) -> list[float] | None:
    rows = []
    for record in records:
        about = record.get(part.column) if isinstance(record, dict) else None
        values = about.get(name) if isinstance(about, dict) else None
        if not isinstance(values, list) or len(values) != part.width:
            return None
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values):
            return None
        rows.append([float(v) for v in values[part.begin : part.end]])
    return [pick(column) for column in zip(*rows, strict=True)] if rows else None
