"""The identity card of the body that produced a dataset: read from it, derived from it, and completed by a person.

A dataset says how many numbers an action has, what they are called, how often they come and how large they get. What
they mean (targets or changes, which form of rotation, which sign closes the gripper) most datasets say nowhere. Plain
normalised numbers in order need none of it, so it stays "unknown" then, and training goes on; whatever does need it, a
representation or a body that is to act, refuses and names the key to set. A default such as "absolute" would be right
often, and where it is wrong nothing would ever say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from lara.errors import ConfigError, DataError, SpecError, nearest
from lara.specs import (
    ActionSpec,
    ObservationSpec,
    action_spec_from_dict,
    observation_spec_from_dict,
    spec_to_dict,
)

if TYPE_CHECKING:
    from lara.data.sources.source import Source

SAID = ("name", "control", "rotation", "gripper")


@dataclass(frozen=True, kw_only=True)
class RobotCard:
    """Which robot, what its actions mean, what it observes. Travels with datasets and checkpoints as JSON."""

    name: str
    action: ActionSpec
    observation: ObservationSpec

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; inverse of `from_dict`."""
        return {
            "name": self.name,
            "action": spec_to_dict(self.action),
            "observation": spec_to_dict(self.observation),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RobotCard:
        """Raises SpecError when keys are missing or unknown."""
        if set(data) != {"name", "action", "observation"}:
            raise SpecError(f"RobotCard expects the keys name, action, observation; got {sorted(data)}")
        return cls(
            name=data["name"],
            action=action_spec_from_dict(data["action"]),
            observation=observation_spec_from_dict(data["observation"]),
        )


class Known(NamedTuple):
    """A value and how it is known."""

    value: str
    why: str


@dataclass(frozen=True, kw_only=True)
class RobotHints:
    """What files say about a robot without being its card; None where they say nothing.

    Attributes:
        limits: the least and the greatest of each action number, as the recorder's statistics have them.
        slices: of each named stretch of the action: name, form of rotation in the file's words, absolute or not.
    """

    name: str | None = None
    control: Known | None = None
    rotation: Known | None = None
    gripper: Known | None = None
    limits: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    slices: tuple[tuple[str, str | None, bool | None], ...] = ()


@runtime_checkable
class Hinting(Protocol):
    """A source whose files say something about its robot, and that gives its actions without its other numbers."""

    def hints(self) -> RobotHints:
        """What they say."""
        ...

    def all_actions(self) -> Iterator[np.ndarray]:
        """(n, A) float32 pieces that together are all actions."""
        ...


def derived_card(
    source: Source, said: RobotCard | Mapping[str, Any] | None = None
) -> tuple[RobotCard, tuple[str, ...]]:
    """The card of a dataset's robot: what its files say, and what a person says where they say nothing.

    Args:
        source: the dataset.
        said: `name`, `control`, `rotation`, `gripper`, each or none (`data.robot`); or a whole card, which stands.

    Returns:
        The card, and one line for every value that the files do not state as such: what was taken, and the key to set.

    Raises:
        ConfigError: for other keys.
        SpecError: for values that they cannot have.
    """
    if isinstance(said, RobotCard):
        return said, ()
    given = {key: value for key, value in (said or {}).items() if value is not None}
    if set(given) == {"name", "action", "observation"}:
        return RobotCard.from_dict(given), ()
    unknown = sorted(set(given) - set(SAID))
    if unknown:
        raise ConfigError(f"data.robot has no '{unknown[0]}'. {nearest(unknown[0], SAID)} (or a whole card)")
    if source.robot is not None:
        return _completed(source, source.robot, given)
    return _derived(source, given)


def _completed(source: Source, card: RobotCard, given: Mapping[str, Any]) -> tuple[RobotCard, tuple[str, ...]]:
    """The files' own card, changed where the person says otherwise."""
    action = spec_to_dict(card.action)
    own = {"name": card.name, **{key: action[key] for key in SAID[1:]}}
    changed = {key: value for key, value in given.items() if own[key] != value}
    notes = tuple(
        f"data.robot.{key}={value} stands instead of '{own[key]}', which {source.root} itself says"
        for key, value in changed.items()
    )
    action.update({key: value for key, value in changed.items() if key != "name"})
    found = RobotCard(
        name=changed.get("name", card.name), action=action_spec_from_dict(action), observation=card.observation
    )
    return found, notes


def _derived(source: Source, given: Mapping[str, Any]) -> tuple[RobotCard, tuple[str, ...]]:
    hints = source.hints() if isinstance(source, Hinting) else RobotHints()
    notes: list[str] = []
    values: dict[str, str] = {}
    acts = bool(source.action_names)
    nothing = {"control": "delta", "rotation": "none", "gripper": "none"}  # no action, so nothing to mean
    for key in SAID[1:]:
        known: Known | None = getattr(hints, key)
        if key in given:
            values[key] = given[key]
        elif not acts:
            values[key] = nothing[key]
        elif known is not None:
            values[key] = known.value
            notes.append(
                f"robot.{key} is taken to be {known.value}, because {known.why}; data.robot.{key} says otherwise"
            )
        else:
            values[key] = "unknown"
            notes.append(
                f"robot.{key} is unknown: no file says it; data.robot.{key} does (needed to act, not to train)"
            )
    for name, rotation, absolute in hints.slices if "rotation" not in given else ():
        if rotation is not None and values["rotation"] == "unknown":
            notes.append(f"'{name}' turns in the form {rotation} (absolute: {absolute}), as its dataset calls it")
    low, high = _limits(source, hints)
    if acts:
        where = "its recorded statistics" if hints.limits is not None else "its numbers"
        notes.append(f"the limits of the actions are the least and the greatest of {where}")
    name = given.get("name", hints.name)
    if name is None and acts:
        notes.append("robot.name is unknown: no file says it; data.robot.name does")
    card = RobotCard(
        name=str(name or ("unknown" if acts else "video")),
        action=ActionSpec(
            names=source.action_names,
            low=low,
            high=high,
            rate_hz=source.fps,
            **values,  # type: ignore[arg-type]
        ),
        observation=ObservationSpec(cameras=source.cameras, state=source.state_names),
    )
    return card, tuple(notes)


def _limits(source: Source, hints: RobotHints) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if hints.limits is not None or not source.action_names:
        return hints.limits or ((), ())
    low, high = np.full(len(source.action_names), np.inf), np.full(len(source.action_names), -np.inf)
    for actions in filter(len, _all_actions(source)):
        wrong = ~np.isfinite(actions).all(0)
        if wrong.any():
            name = source.action_names[int(np.flatnonzero(wrong)[0])]
            raise DataError(f"{source.root}: the action '{name}' is not finite somewhere; remove or mend the episode")
        low, high = np.minimum(low, actions.min(0)), np.maximum(high, actions.max(0))
    return tuple(low.tolist()), tuple(high.tolist())


def _all_actions(source: Source) -> Iterator[np.ndarray]:
    if isinstance(source, Hinting):
        return source.all_actions()
    return (source.arrays(row.index).actions for row in source.episodes)


def require_said(robot: RobotCard, *keys: str, doing: str) -> None:
    """Raises ConfigError when the card leaves open what `doing` depends on.

    Args:
        robot: a card. keys: of "control", "rotation", "gripper".
        doing: what needs them, for the message: "data.actions".
    """
    missing = [key for key in keys if getattr(robot.action, key) == "unknown"]
    if missing:
        said = " ".join(f"data.robot.{key}=..." for key in missing)
        raise ConfigError(
            f"{doing} depends on what the actions of '{robot.name}' mean, and no file says their {', '.join(missing)}; "
            f"say it: {said}"
        )


def require_numbers_of(source: Source, robot: RobotCard) -> None:
    """Raises ConfigError for a card of another robot."""
    for what, names, card in (
        ("action", source.action_names, robot.action.names),
        ("state", source.state_names, robot.observation.state),
    ):
        if len(names) != len(card):
            raise ConfigError(
                f"{source.root}: {what}s have {len(names)} numbers, the robot card {len(card)}; give the card of this "
                "robot, or leave data.robot out"
            )
