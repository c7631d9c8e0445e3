"""A robot's numbers in the unified action and state vectors (LatBot, 002 section 6.1), and the way back.

They are converted to the unified units, and stand at the places that `unified_actions` names; the masks of a batch say
which places are real.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lara.data.actions.placement import Placement
from lara.data.actions.representation import Codec, Representation
from lara.data.actions.unified_actions import ACTION_NAMES, STATE_NAMES
from lara.data.robot import RobotCard, require_said
from lara.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class Unified(Representation):
    """A robot with delta control in the 44 action and 46 state numbers of `data.actions.unified_actions`.

    action: every action name of the robot -> unified name. state: every state name -> unified name, or None for a
        number that has no place there (a joint angle).
    metres, radians: of one unit of the robot's translation and rotation commands.
    gripper_state: the state numbers of the closed and the open gripper, which become 0 and 1; the action's are the
        limits of the robot's card, by its gripper convention. Gripper ACTIONS are not normalised any further, so that a
        loss may read them as the probability of open.

    Conversion is number by number and can be undone exactly. A robot whose actions are not changes, or turn in another
    form than Euler angles, cannot be converted so: `bind` raises ConfigError, and its dataset is to be rewritten
    with `data.actions.unified_actions.actions_between` first.
    """

    buildable: ClassVar[str] = "data"

    action: Mapping[str, str]
    state: Mapping[str, str | None]
    metres: float = 1.0
    radians: float = 1.0
    gripper_state: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", dict(self.action))
        object.__setattr__(self, "state", dict(self.state))
        object.__setattr__(self, "gripper_state", tuple(float(x) for x in self.gripper_state))
        sizes = {"metres": self.metres, "radians": self.radians}
        if any(not size > 0 for size in sizes.values()) or self.gripper_state[0] == self.gripper_state[1]:
            raise ConfigError(
                f"layout: units must be positive and a closed gripper differ from an open one, got {sizes}, "
                f"gripper_state={self.gripper_state}"
            )

    def bind(self, robot: RobotCard) -> Codec:
        """See `Representation.bind`."""
        return Codec(*_placements(robot, self))


def _placements(robot: RobotCard, layout: Unified) -> tuple[Placement, Placement]:
    spec = robot.action
    require_said(robot, "control", "rotation", "gripper", doing="data.actions (Unified)")
    if spec.control != "delta" or spec.rotation not in ("none", "euler_xyz"):
        raise ConfigError(
            f"the unified action space holds changes of position and Euler angles (control=delta, rotation=none or "
            f"euler_xyz), the robot '{robot.name}' has control={spec.control}, rotation={spec.rotation}; rewrite its "
            "dataset with lara.data.actions.unified_actions.actions_between, or use InOrder (see conf/data)"
        )
    _require_names("action", layout.action, spec.names, ACTION_NAMES)
    _require_names("state", layout.state, robot.observation.state, STATE_NAMES)
    rows = []
    for k, name in enumerate(spec.names):
        where = layout.action[name]
        if where.endswith("gripper"):
            if spec.gripper == "none" or not spec.low[k] < spec.high[k]:
                raise ConfigError(f"action '{name}' is to be a gripper, but the card says gripper={spec.gripper}")
            ends = (spec.low[k], spec.high[k])
            closed, opened = ends if spec.gripper == "open_positive" else ends[::-1]
            rows.append((1 / (opened - closed), -closed / (opened - closed), True))
        else:
            turn = where.endswith(("roll", "pitch", "yaw"))
            rows.append((layout.radians if turn else layout.metres, 0.0, False))
    places = np.array([ACTION_NAMES.index(layout.action[name]) for name in spec.names], np.int64)
    scale, offset, kept = (np.array([row[i] for row in rows]) for i in range(3))
    action = Placement(spec.dim, np.arange(spec.dim), places, scale, offset, kept.astype(bool))

    names = robot.observation.state
    source = [k for k, name in enumerate(names) if layout.state[name] is not None]
    targets = [str(layout.state[names[k]]) for k in source]
    closed, opened = layout.gripper_state
    grippers = np.array([name.endswith("gripper") for name in targets], bool)
    state = Placement(
        inputs=len(names),
        source=np.array(source, np.int64),
        places=np.array([STATE_NAMES.index(name) for name in targets], np.int64),
        scale=np.where(grippers, 1 / (opened - closed), 1.0),
        offset=np.where(grippers, -closed / (opened - closed), 0.0),
        kept=np.zeros(len(source), bool),
    )
    return action, state


def _require_names(
    what: str, given: Mapping[str, str | None], robot: tuple[str, ...], unified: tuple[str, ...]
) -> None:
    if set(given) != set(robot):
        raise ConfigError(f"data.actions.{what} must name exactly the robot's {list(robot)}, it names {sorted(given)}")
    used = [name for name in given.values() if name is not None]
    unknown = [name for name in used if name not in unified]
    if unknown:
        raise ConfigError(f"'{unknown[0]}' is no unified {what}. {nearest(unknown[0], unified)}")
    if len(set(used)) != len(used):
        raise ConfigError(f"data.actions.{what} puts two numbers at one place: {sorted(used)}")
