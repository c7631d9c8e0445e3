"""Actions as absolute end-effector poses: position 3, rotation 6D, gripper (RotVLA 001, section 4.1), and the way back.

With `data.actions: AbsolutePose` the chunk at t then holds poses:

    robot with absolute control: the pose that a_{t+k} commands.
    robot with delta control:    the pose that the state shows at t+k+1, which the action led to. An episode's last
                                 frame has none, and is masked. Serving returns the displacements from the observation's
                                 pose to the first target, and from each target to the next.

The gripper's number is a_{t+k}'s own in both, and so is its unit. Poses are metres and two columns of the rotation
matrix (Zhou et al. 2019), in the frame that the robot's numbers are in; what a policy returns is made orthonormal by
Gram-Schmidt. Displacements are right as commands only where the robot reaches, within a step, what it is sent to:
robosuite's OSC (LIBERO) covers 10 to 22 % of it, so such data is refused (`PoseActions.poses`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, cast, get_args

import numpy as np

from lara.data.actions.placement import Placement
from lara.data.actions.representation import Codec, Representation
from lara.data.actions.rotations import WIDTH, Form, from_matrix, matrix_to_rot6d, rot6d_to_matrix, to_matrix
from lara.data.robot import RobotCard, require_said
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Source
from lara.errors import ConfigError, nearest

_TURNS = ("euler_xyz", "axis_angle")  # the forms in which a change of orientation can be counted in units


@dataclass(frozen=True, kw_only=True)
class AbsolutePose(Representation):
    """Which of a robot's numbers are its end effector's pose. Their order in the names counts, not that in the card.

    position, rotation:  names of actions: x y z, and the rotation in the form that the robot's card says.
    gripper:             name of an action, or None.
    The rest is for delta control only, and must be None otherwise:
    state_position, state_rotation, state_form: names of state numbers, and the form of the rotation among them (a
                         matrix is named row by row). Positions are metres, angles radians.
    metres, radians:     of one unit of the commands (robosuite's OSC: 0.05 and 0.5). A turn is in the base frame:
                         R_next = turn R_now.
    tolerance:           how far the displacements between recorded poses, as commands, may be from the recorded ones:
                         their root mean square difference over the commands' own, for positions and rotations each.
    """

    buildable: ClassVar[str] = "data"

    position: Sequence[str]
    rotation: Sequence[str]
    gripper: str | None = None
    state_position: Sequence[str] | None = None
    state_rotation: Sequence[str] | None = None
    state_form: Form | None = None
    metres: float | None = None
    radians: float | None = None
    tolerance: float = 0.25

    def __post_init__(self) -> None:
        for name in ("position", "rotation", "state_position", "state_rotation"):
            names = getattr(self, name)
            object.__setattr__(self, name, None if names is None else tuple(names))
        if self.state_form is not None and self.state_form not in get_args(Form):
            raise ConfigError(f"no rotation form '{self.state_form}'. {nearest(self.state_form, get_args(Form))}")
        if any(unit is not None and not unit > 0 for unit in (self.metres, self.radians)) or not self.tolerance > 0:
            raise ConfigError(
                f"a pose's units and tolerance must be positive, got metres={self.metres}, radians={self.radians}, "
                f"tolerance={self.tolerance}"
            )

    def bind(self, robot: RobotCard) -> PoseActions:
        """The conversion for one robot. Raises ConfigError for a robot whose actions are no poses or changes of one."""
        return PoseActions(self, robot)


class PoseActions(Codec):
    """One robot's A actions <-> P = 9 numbers of a pose, or 10 with a gripper. Made by `AbsolutePose.bind`."""

    def __init__(self, pose: AbsolutePose, robot: RobotCard) -> None:
        spec = robot.action
        require_said(robot, "control", "rotation", "gripper", doing="data.actions (AbsolutePose)")
        if spec.rotation == "none":
            raise ConfigError(
                f"the actions of '{robot.name}' say no orientation (rotation=none), so no absolute pose can be made of "
                "them; use data.actions=InOrder"
            )
        if spec.control == "velocity" or (spec.control == "delta" and spec.rotation not in _TURNS):
            raise ConfigError(
                f"poses come from absolute control, or delta control with turns as {' or '.join(_TURNS)}; the actions "
                f"of '{robot.name}' have control={spec.control}, rotation={spec.rotation}"
            )
        super().__init__(
            Placement.in_order(9 + (pose.gripper is not None)), Placement.in_order(len(robot.observation.state))
        )
        if (pose.gripper is None) != (spec.gripper == "none"):
            raise ConfigError(f"data.actions.gripper={pose.gripper}, but the card says gripper={spec.gripper}")
        self.delta = spec.control == "delta"
        named = [*pose.position, *pose.rotation, *([] if pose.gripper is None else [pose.gripper])]
        self._position = _places("position", pose.position, spec.names, 3)
        self._rotation = _places("rotation", pose.rotation, spec.names, WIDTH[spec.rotation])
        self._gripper = None if pose.gripper is None else _places("gripper", [pose.gripper], spec.names, 1)
        if sorted(named) != sorted(spec.names):
            raise ConfigError(
                f"data.actions must name each action of '{robot.name}' once: {list(spec.names)}; it names {named}"
            )
        self._name, self._dim, self._form = robot.name, spec.dim, cast(Form, spec.rotation)
        self._tolerance = pose.tolerance
        own = ("state_position", "state_rotation", "state_form", "metres", "radians")
        given = [f.name for f in fields(pose) if f.name in own and getattr(pose, f.name) is not None]
        if len(given) != len(own) * self.delta:
            raise ConfigError(
                f"'{robot.name}' has control={spec.control}: data.actions must give "
                f"{'all' if self.delta else 'none'} of {', '.join(own)}; it gives {', '.join(given) or 'none'}"
            )
        if pose.state_position is None or pose.state_rotation is None or pose.state_form is None:
            return
        seen = robot.observation.state
        self._state_form = pose.state_form
        self._state_position = _places("state_position", pose.state_position, seen, 3)
        self._state_rotation = _places("state_rotation", pose.state_rotation, seen, WIDTH[pose.state_form])
        self._metres, self._radians = pose.metres, pose.radians

    def targets(self, source: Source, numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
        """See `Codec.targets`."""
        poses, real = self.poses(numbers.actions, numbers.states, last=numbers.ends - 1)
        return poses, real & numbers.real

    def poses(self, actions: np.ndarray, states: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All N frames of a dataset, actions (N, A) and states (N, S) in robot units -> (N, P) float32 poses, and (N,)
        False where there is none (0 there).

        last: frame numbers of the episodes' last frames. Raises DataError for numbers that are no orientation, and
        ConfigError where displacements between recorded poses would not have been the recorded commands.
        """
        out = np.zeros((len(actions), self.action.count), np.float32)
        real = np.ones(len(actions), bool)
        if self.delta:
            real[last] = False
            now = np.flatnonzero(real)
            position, rotation = self._pose(states)
            self._require_reached(actions[now], self._commands(position, rotation, now, now + 1))
            position, rotation = position[now + 1], rotation[now + 1]
            out[now, :9] = np.concatenate([position, matrix_to_rot6d(rotation)], axis=-1)
        else:
            rotation = to_matrix(actions[:, self._rotation], self._form)
            out[:, :9] = np.concatenate([actions[:, self._position], matrix_to_rot6d(rotation)], axis=-1)
        if self._gripper is not None:
            out[real, 9:] = actions[real][:, self._gripper]
        return out, real

    def commands(self, converted: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Poses (..., h, P) of chunks -> (..., h, A) in robot units, float64.

        states: (..., S) in robot units, at the chunk's first step; only delta control depends on it. Rotations are the
        canonical ones of `rotations` (w >= 0, angles in [0, pi]). Raises DataError for poses without a direction.
        """
        poses = np.asarray(converted, np.float64)
        position, rotation = poses[..., :3], rot6d_to_matrix(poses[..., 3:9])
        out = np.zeros((*poses.shape[:-1], self._dim))
        if self.delta:
            here, turned = self._pose(states)
            position = np.concatenate([here[..., None, :], position], axis=-2)
            rotation = np.concatenate([turned[..., None, :, :], rotation], axis=-3)
            moves = np.moveaxis(position, -2, 0), np.moveaxis(rotation, -3, 0)
            steps = np.arange(poses.shape[-2])
            command = np.moveaxis(self._commands(*moves, steps, steps + 1), 0, -2)
        else:
            command = np.concatenate([position, from_matrix(rotation, self._form)], axis=-1)
        out[..., self._position], out[..., self._rotation] = command[..., :3], command[..., 3:]
        if self._gripper is not None:
            out[..., self._gripper] = poses[..., 9:]
        return out

    def _pose(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        states = np.asarray(states, np.float64)
        return states[..., self._state_position], to_matrix(states[..., self._state_rotation], self._state_form)

    def _commands(self, position: np.ndarray, rotation: np.ndarray, now: np.ndarray, then: np.ndarray) -> np.ndarray:
        """Poses by number (M, ..., 3), (M, ..., 3, 3); from those at `now` (n,) to those at `then` -> (n, ..., 6)."""
        turn = from_matrix(rotation[then] @ np.swapaxes(rotation[now], -1, -2), self._form)
        return np.concatenate([(position[then] - position[now]) / self._metres, turn / self._radians], axis=-1)

    def _require_reached(self, actions: np.ndarray, moved: np.ndarray) -> None:
        sent = actions[:, np.concatenate([self._position, self._rotation])].astype(np.float64)
        floor = 0.05 * _size(sent)  # of a part that is hardly ever used, only gross errors are to count
        for part, here in (("positions", slice(0, 3)), ("rotations", slice(3, 6))):
            a, b = sent[:, here], moved[:, here]
            off = _size(b - a) / max(_size(a), floor, 1e-9)
            if off > self._tolerance:
                gain = (a * b).sum() / max((a * a).sum(), 1e-9)
                raise ConfigError(
                    f"'{self._name}' does not go where it is sent: the displacements between recorded poses ({part}) "
                    f"are {gain:.2f} of the recorded commands and {off:.0%} off them, {self._tolerance:.0%} is "
                    "allowed. Either data.actions' units, names, form or the frame of turns are wrong, or the "
                    "controller lags (robosuite's OSC does), and displacements would undershoot as commands; then "
                    "record the poses that it was sent to as actions, with control=absolute in the card"
                )


def _places(what: str, names: Sequence[str], offered: tuple[str, ...], width: int) -> np.ndarray:
    if len(names) != width or len(set(names)) != width:
        raise ConfigError(f"data.actions.{what} must be {width} different names, got {list(names)}")
    for name in names:
        if name not in offered:
            raise ConfigError(f"data.actions.{what}: no '{name}' in the robot's card. {nearest(name, offered)}")
    return np.array([offered.index(name) for name in names], np.int64)


def _size(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x).mean())) if x.size else 0.0
