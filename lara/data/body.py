"""Whose numbers a training run reads: the card given, the labels' own, or the dataset's; and whether they fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lara.data.robot import RobotCard
from lara.data.sources.source import Source
from lara.errors import ConfigError
from lara.specs import ActionSpec, ObservationSpec


def resolved_robot(source: Source, robot: RobotCard | Mapping[str, Any] | None) -> RobotCard:
    """The card of the robot that acts; where nothing acts, one that says so. Raises ConfigError when nothing says what
    actions mean."""
    card = RobotCard.from_dict(dict(robot)) if isinstance(robot, Mapping) else robot
    found = card or source.robot
    if found is None and not source.action_names:
        return _without_actions(source)
    if found is None:
        raise ConfigError(f"{source.root}: nothing says what its actions mean; give data.robot")
    return found


def _without_actions(source: Source) -> RobotCard:
    """Video, or states alone: there are no actions whose meaning somebody would have to say."""
    return RobotCard(
        name=str(source.info.get("robot_type") or "video"),
        action=ActionSpec(
            names=(), control="delta", rotation="none", gripper="none", low=(), high=(), rate_hz=source.fps
        ),
        observation=ObservationSpec(cameras=source.cameras, state=tuple(f"s{i}" for i in range(source.state_dim))),
    )
