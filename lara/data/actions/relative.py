"""Which absolute actions are learned as distances from the state that they start at.

With `data.actions: RelativeActions` the chunk at t holds, of the actions that it names, a_{t+k} - s_t (not
a_{t+k} - a_{t+k-1}), normalised step by step (`normalize.RelativeNormalizer`).
GR00T N1.6 and N1.7 (ActionRepresentation RELATIVE) and openpi (DeltaActions, with a mask for the gripper) do so. The
data card knows the pairs, and serving adds the observation's own state again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lara.data.actions.pairing import Pairing
from lara.data.actions.placement import Placement
from lara.data.actions.representation import Codec, Representation
from lara.data.actions.rotations import WIDTH as ROTATION_WIDTH
from lara.data.robot import RobotCard, require_said
from lara.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class RelativeActions(Representation):
    """state: action name -> the state number, in the same units, that it is a target for. Others stay absolute.

    Per number, so right for joints and positions. A gripper's command and the numbers of a rotation are to stay
    absolute: angles wrap, and a difference of quaternions or matrix columns is no rotation.
    """

    buildable: ClassVar[str] = "data"

    state: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", dict(self.state))
        if not self.state:
            raise ConfigError(
                "data.actions names no action to be relative; name at least one in data.actions.state, or use InOrder"
            )

    def pairing(self, robot: RobotCard) -> Pairing:
        """Raises ConfigError for a robot whose actions are not positions, or that lacks what is named."""
        spec, seen = robot.action, robot.observation.state
        require_said(robot, "control", "rotation", "gripper", doing="data.actions (RelativeActions)")
        if spec.control != "absolute":
            raise ConfigError(
                f"relative actions take the state off absolute targets; the actions of '{robot.name}' have control="
                f"{spec.control}, from which a position cannot be taken off. Use data.actions=InOrder (see conf/data)"
            )
        for action, state in self.state.items():
            if action not in spec.names:
                raise ConfigError(f"data.actions.state: no action '{action}'. {nearest(action, spec.names)}")
            if state not in seen:
                raise ConfigError(f"data.actions.state.{action}: no state '{state}'. {nearest(state, seen)}")
        # the card does not say which numbers turn, but it says how many do
        absolute = ROTATION_WIDTH.get(spec.rotation, 0) + (spec.gripper != "none")
        if spec.dim - len(self.state) < absolute:
            raise ConfigError(
                f"'{robot.name}' has {spec.dim} actions, of which at least {absolute} turn or grip (rotation="
                f"{spec.rotation}, gripper={spec.gripper}) and stay absolute; data.actions.state names "
                f"{len(self.state)}, so leave those out"
            )
        source = [seen.index(self.state[name]) if name in self.state else 0 for name in spec.names]
        return Pairing(tuple(name in self.state for name in spec.names), np.array(source, np.int64))

    def bind(self, robot: RobotCard) -> Codec:
        """See `Representation.bind`; and `pairing` for what is refused."""
        action = Placement.in_order(robot.action.dim)
        return Codec(action, Placement.in_order(len(robot.observation.state)), self.pairing(robot))
