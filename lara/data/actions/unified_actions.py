"""One action space and one state space for arms and hands (LatBot, 002 section 6.1): 44 and 46 named numbers.

    action 44:  left arm 7 | right arm 7 | left fingertips 15 | right fingertips 15
    state  46:  left arm 8 | right arm 8 | left fingertips 15 | right fingertips 15
    arm action: change of x y z, change of orientation as Euler angles, gripper
    arm state:  x y z, quaternion, gripper
    fingertips: thumb, index, middle, ring, little; x y z of each (action: their change)

Units: metres, radians, gripper in [0, 1] with 0 closed and 1 open. An "arm" is a robot's end effector or a human wrist;
a hand has no gripper number, a gripper no fingertips. What a body lacks is 0 with mask False.

What 002 leaves open, and what is done here: quaternions are x, y, z, w with w >= 0; the change of orientation is the
Euler angles (fixed axes x, y, z) of R_next R_now^T, a turn in the base frame, not a difference of angles, which would
jump at +-pi; the action's gripper is the state to reach, not its change, because the fine-tuning loss on it is a binary
cross-entropy (section 4); a single arm may be put on either side, the recipes use the right one; fingertips are in the
same frame as the wrist, left hand first, thumb to little finger.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from lara.data.actions.rotations import (
    euler_to_matrix,
    matrix_to_euler,
    matrix_to_quaternion,
    matrix_to_rot6d,
    quaternion_to_matrix,
    rot6d_to_matrix,
)
from lara.errors import DataError

Part = Literal["left_arm", "right_arm", "left_fingertips", "right_fingertips"]
PARTS: tuple[Part, ...] = get_args(Part)
SIDES = ("left", "right")
FINGERS = ("thumb", "index", "middle", "ring", "little")

ACTION_PARTS: dict[Part, slice] = {
    "left_arm": slice(0, 7),
    "right_arm": slice(7, 14),
    "left_fingertips": slice(14, 29),
    "right_fingertips": slice(29, 44),
}
STATE_PARTS: dict[Part, slice] = {
    "left_arm": slice(0, 8),
    "right_arm": slice(8, 16),
    "left_fingertips": slice(16, 31),
    "right_fingertips": slice(31, 46),
}
ACTION_DIM, STATE_DIM = 44, 46

_TIPS = tuple(f"{side}_{finger}_{axis}" for side in SIDES for finger in FINGERS for axis in "xyz")
_ARM_ACTION = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
_ARM_STATE = ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper")
ACTION_NAMES = (*(f"{side}_{name}" for side in SIDES for name in _ARM_ACTION), *_TIPS)
STATE_NAMES = (*(f"{side}_{name}" for side in SIDES for name in _ARM_STATE), *_TIPS)


def pack_action(parts: dict[Part, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Actions of some parts -> unified action (..., 44) and its mask (44,).

    parts: (..., 7) for an arm, (..., 6) for a wrist without a gripper, (..., 15) for the fingertips of a hand.
    A single arm is pack_action({"right_arm": a}), two arms pack_action({"left_arm": a, "right_arm": b}).
    Raises DataError for no part, an unknown one, or a wrong size.
    """
    return _pack(parts, ACTION_PARTS, ACTION_DIM)


def pack_state(parts: dict[Part, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """States of some parts -> unified state (..., 46) and its mask (46,).

    parts: (..., 8) for an arm, (..., 7) for a wrist without a gripper, (..., 15) for fingertips. Quaternions are
    normalised and their sign is made w >= 0. Raises DataError as `pack_action` does, and for a zero quaternion.
    """
    parts = {name: _canonical(x) if name.endswith("_arm") else x for name, x in parts.items()}
    return _pack(parts, STATE_PARTS, STATE_DIM)


def unpack_action(action: np.ndarray, mask: np.ndarray) -> dict[Part, np.ndarray]:
    """Inverse of `pack_action`: the parts that the mask says are real, without the gripper where there is none."""
    return _unpack(action, mask, ACTION_PARTS, ACTION_DIM)


def unpack_state(state: np.ndarray, mask: np.ndarray) -> dict[Part, np.ndarray]:
    """Inverse of `pack_state`."""
    return _unpack(state, mask, STATE_PARTS, STATE_DIM)


def actions_between(now: np.ndarray, future: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unified states (..., 46) at two times, with the mask (46,) of their body -> the action (..., 44) that leads from
    one to the other, and its mask (44,). Of an episode of T states: actions_between(states[:-1], states[1:], mask)."""
    before, after = unpack_state(now, mask), unpack_state(future, mask)
    return pack_action({part: _change(part, before[part], after[part]) for part in before})


def apply_action(
    state: np.ndarray, action: np.ndarray, mask: np.ndarray, action_mask: np.ndarray | None = None
) -> np.ndarray:
    """Inverse of `actions_between`: the unified state (..., 46) that the action leads to.

    mask: (46,) of the body. action_mask: (44,) of the action; the default is the mask that such a body's actions have.
    Raises DataError if state and action are of different bodies.
    """
    before = unpack_state(state, mask)
    wanted = action_mask_of(mask)
    if action_mask is not None and not np.array_equal(np.asarray(action_mask, bool), wanted):
        raise DataError(
            f"state and action are of different bodies: the state's mask asks for actions of {_describe(wanted)}, the "
            f"action's mask says {_describe(np.asarray(action_mask, bool))}"
        )
    moves = unpack_action(action, wanted)
    return pack_state({part: _move(part, before[part], moves[part]) for part in before})[0]


def action_mask_of(mask: np.ndarray) -> np.ndarray:
    """The mask (44,) of the actions of a body with the state mask (46,)."""
    nothing = np.zeros(STATE_DIM)
    for here in (STATE_PARTS["left_arm"], STATE_PARTS["right_arm"]):
        nothing[here][6] = 1.0  # the quaternion of no turn
    return actions_between(nothing, nothing, mask)[1]


def pose_state(position: np.ndarray, rotation: np.ndarray, gripper: np.ndarray | None) -> np.ndarray:
    """Position (..., 3), rotation matrix (..., 3, 3), gripper (...) or None -> arm state (..., 8), or (..., 7)."""
    numbers = [np.asarray(position, np.float64), matrix_to_quaternion(rotation)]
    if gripper is not None:
        numbers.append(np.asarray(gripper, np.float64)[..., None])
    return np.concatenate(numbers, axis=-1)


def state_pose(arm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Inverse of `pose_state`."""
    return arm[..., :3], quaternion_to_matrix(arm[..., 3:7]), arm[..., 7] if arm.shape[-1] == 8 else None


def hands_state(hands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """EgoDex's 48 numbers (..., 48) -> unified state (..., 46) and its mask: two wrists, ten fingertips, no gripper.

    Of each hand, left first: wrist x y z, wrist rot6d (two matrix columns), five fingertips x y z. 002 names these
    numbers but not their order; this one is assumed. Actions follow from `actions_between`.
    """
    hands = np.asarray(hands, np.float64)
    if hands.shape[-1] != 48:
        raise DataError(f"two hands are 48 numbers (2 x (3 + 6 + 15)), got {hands.shape[-1]}")
    left, right = hands[..., :24], hands[..., 24:]
    return pack_state(
        {
            "left_arm": pose_state(left[..., :3], rot6d_to_matrix(left[..., 3:9]), None),
            "right_arm": pose_state(right[..., :3], rot6d_to_matrix(right[..., 3:9]), None),
            "left_fingertips": left[..., 9:],
            "right_fingertips": right[..., 9:],
        }
    )


def state_hands(state: np.ndarray) -> np.ndarray:
    """Inverse of `hands_state`: (..., 46) -> (..., 48)."""
    hands = np.zeros(STATE_DIM, bool)
    for here in STATE_PARTS.values():
        hands[here] = True
    for here in (STATE_PARTS["left_arm"], STATE_PARTS["right_arm"]):
        hands[here.stop - 1] = False
    parts = unpack_state(state, hands)
    numbers = []
    for arm, tips in (
        (parts["left_arm"], parts["left_fingertips"]),
        (parts["right_arm"], parts["right_fingertips"]),
    ):
        position, rotation, _ = state_pose(arm)
        numbers += [position, matrix_to_rot6d(rotation), tips]
    return np.concatenate(numbers, axis=-1)


def _pack(parts: dict[Part, np.ndarray], layout: dict[Part, slice], dim: int) -> tuple[np.ndarray, np.ndarray]:
    unknown = sorted(set(parts) - set(layout))
    if unknown or not parts:
        raise DataError(f"a body is made of {list(layout)}, got {unknown or 'nothing'}")
    arrays = {name: np.asarray(x, np.float64) for name, x in parts.items()}
    out = np.zeros((*next(iter(arrays.values())).shape[:-1], dim))
    mask = np.zeros(dim, bool)
    for name, x in arrays.items():
        here = layout[name]
        size = here.stop - here.start
        allowed = (size - 1, size) if name.endswith("_arm") else (size,)
        if x.shape[-1] not in allowed or x.shape[:-1] != out.shape[:-1]:
            raise DataError(
                f"{name} must be {' or '.join(str((*out.shape[:-1], k)) for k in allowed)}, got {x.shape}; all parts "
                "share their leading axes"
            )
        filled = slice(here.start, here.start + x.shape[-1])
        out[..., filled], mask[filled] = x, True
    return out, mask


def _unpack(x: np.ndarray, mask: np.ndarray, layout: dict[Part, slice], dim: int) -> dict[Part, np.ndarray]:
    x, mask = np.asarray(x, np.float64), np.asarray(mask, bool)
    if x.shape[-1] != dim or mask.shape != (dim,):
        raise DataError(f"expected {dim} numbers and a mask of shape ({dim},), got {x.shape} and {mask.shape}")
    parts: dict[Part, np.ndarray] = {}
    for name, here in layout.items():
        real = mask[here]
        if not real.any():
            continue
        count = int(real.sum())
        without_gripper = name.endswith("_arm") and count == len(real) - 1
        if not real[:count].all() or (count != len(real) and not without_gripper):
            raise DataError(f"the mask of {name} is torn: a part is there or not, and only a gripper may be missing")
        parts[name] = x[..., here][..., :count]
    return parts


def _canonical(arm: np.ndarray) -> np.ndarray:
    arm = np.asarray(arm, np.float64)
    if arm.shape[-1] not in (7, 8):
        raise DataError(
            f"the state of an arm is x y z, quaternion (x y z w) and perhaps a gripper, got {arm.shape[-1]}"
        )
    return pose_state(*state_pose(arm))


def _change(part: Part, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    if not part.endswith("_arm"):
        change: np.ndarray = after - before
        return change
    from_position, from_rotation, _ = state_pose(before)
    to_position, to_rotation, gripper = state_pose(after)
    turn = matrix_to_euler(to_rotation @ np.swapaxes(from_rotation, -1, -2))
    numbers = [to_position - from_position, turn]
    return np.concatenate(numbers if gripper is None else [*numbers, gripper[..., None]], axis=-1)


def _move(part: Part, before: np.ndarray, move: np.ndarray) -> np.ndarray:
    if not part.endswith("_arm"):
        after: np.ndarray = before + move
        return after
    position, rotation, _ = state_pose(before)
    gripper = move[..., 6] if move.shape[-1] == 7 else None
    return pose_state(position + move[..., :3], euler_to_matrix(move[..., 3:6]) @ rotation, gripper)


def _describe(mask: np.ndarray) -> str:
    return ", ".join(name for name, here in ACTION_PARTS.items() if mask[here].any()) or "nothing"
