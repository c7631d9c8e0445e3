"""Whose numbers a training run reads: the card given, the labels' own, or the dataset's; and whether they fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lara.data.actions.placement import Placement
from lara.data.lam_inputs.labels import LatentActions
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.source import LeRobotSource
from lara.errors import ConfigError
from lara.specs import ActionSpec, ObservationSpec


def body_of(
    source: LeRobotSource, *, robot: RobotCard | Mapping[str, Any] | None, labels: LatentActions | None
) -> RobotCard:
    """The card of the body that acts; where nothing acts, one that says so. Raises ConfigError when nothing says what
    actions mean, or labels and a card are both given."""
    card = RobotCard.from_dict(dict(robot)) if isinstance(robot, Mapping) else robot
    if labels is not None:
        if card is not None:
            raise ConfigError("data.labels brings a card of its own; leave data.robot out")
        return labels.card(source)
    found = card or source.robot
    if found is None and source.action_dim == 0:
        return _without_actions(source)
    if found is None:
        raise ConfigError(
            f"{source.root}: nothing says what its actions mean (meta/lara.json is missing); give robot=..., for "
            "example open_dataset(root).robot_card(control=..., rotation=..., gripper=...)"
        )
    return found


def _without_actions(source: LeRobotSource) -> RobotCard:
    """Video, or states alone: there are no actions whose meaning somebody would have to say."""
    return RobotCard(
        name=str(source.info.get("robot_type") or "video"),
        action=ActionSpec(
            names=(), control="delta", rotation="none", gripper="none", low=(), high=(), rate_hz=source.fps
        ),
        observation=ObservationSpec(cameras=source.cameras, state=tuple(f"s{i}" for i in range(source.state_dim))),
    )


def require_width(source: LeRobotSource, name: str, *, real: int, card: int, place: Placement, most: int) -> None:
    """name: "action" or "state". real: numbers in the files. card: numbers that the robot card names. most: padded
    width. Raises ConfigError where they do not fit."""
    if real != card or place.width > most:
        raise ConfigError(
            f"{source.root}: {name}s have {real} dimensions, the robot card {card}, their places reach to "
            f"{place.width}, {name}_dim_max is {most}; the first two must agree and the last be at least as large as "
            "the places"
        )
