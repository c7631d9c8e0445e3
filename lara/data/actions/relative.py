"""Which absolute actions are learned as distances from the state that they start at.

`data.relative` is null, and actions are learned as they are; or a `RelativeActions`, and of the actions it names the
chunk at t holds a_{t+k} - s_t (not a_{t+k} - a_{t+k-1}), normalised step by step (`normalize.RelativeNormalizer`).
GR00T N1.6 and N1.7 (ActionRepresentation RELATIVE) and openpi (DeltaActions, with a mask for the gripper) do so. The
data card knows the pairs, and serving adds the observation's own state again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lara.data.actions.rotations import WIDTH as ROTATION_WIDTH
from lara.data.robot import RobotCard, require_said
from lara.errors import ConfigError, nearest


@dataclass(frozen=True)
class Pairing:
    """relative (A,): which of A actions have a state number taken off. source (A,): which of the S state numbers; 0
    where none is."""

    relative: tuple[bool, ...]
    source: np.ndarray

    def reference(self, states: np.ndarray) -> np.ndarray:
        """(..., S) -> (..., A): each action's state number; of an action that stays absolute a number without use."""
        return states[..., self.source]


@dataclass(frozen=True, kw_only=True)
class RelativeActions:
    """state: action name -> the state number, in the same units, that it is a target for. Others stay absolute.

    Per number, so right for joints and positions. A gripper's command and the numbers of a rotation are to stay
    absolute: angles wrap, and a difference of quaternions or matrix columns is no rotation.
    """

    buildable: ClassVar[str] = "data"

    state: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", dict(self.state))
        if not self.state:
            raise ConfigError("data.relative names no action; name at least one in data.relative.state, or set it null")

    def pairing(self, robot: RobotCard) -> Pairing:
        """Raises ConfigError for a robot whose actions are not positions, or that lacks what is named."""
        spec, seen = robot.action, robot.observation.state
        require_said(robot, "control", "rotation", "gripper", doing="data.relative")
        if spec.control != "absolute":
            raise ConfigError(
                f"data.relative takes the state off absolute targets; the actions of '{robot.name}' have control="
                f"{spec.control}, from which a position cannot be taken off. Set data.relative=null"
            )
        for action, state in self.state.items():
            if action not in spec.names:
                raise ConfigError(f"data.relative.state: no action '{action}'. {nearest(action, spec.names)}")
            if state not in seen:
                raise ConfigError(f"data.relative.state.{action}: no state '{state}'. {nearest(state, seen)}")
        # the card does not say which numbers turn, but it says how many do
        absolute = ROTATION_WIDTH.get(spec.rotation, 0) + (spec.gripper != "none")
        if spec.dim - len(self.state) < absolute:
            raise ConfigError(
                f"'{robot.name}' has {spec.dim} actions, of which at least {absolute} turn or grip (rotation="
                f"{spec.rotation}, gripper={spec.gripper}) and stay absolute; data.relative.state names "
                f"{len(self.state)}, so leave those out"
            )
        source = [seen.index(self.state[name]) if name in self.state else 0 for name in spec.names]
        return Pairing(tuple(name in self.state for name in spec.names), np.array(source, np.int64))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; inverse of `RelativeActions(**...)`."""
        return {"state": dict(self.state)}
