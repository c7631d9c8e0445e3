"""A made-up arm whose actions are moves of its hand, datasets of it, and its poses."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from lara.data.actions import rotations as rot
from lara.data.actions.eef_pose import AbsolutePose
from lara.data.episode import Episode
from lara.data.frames.encode import ImageStorage
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.write import assemble, stage_episode
from lara.specs import ActionSpec, ObservationSpec
from tests.data import flat

FORMS = ("euler_xyz", "axis_angle", "quaternion_xyzw", "rot6d", "matrix")
MODES = ["identity", "min_max", "mean_std", "quantile"]
LENGTHS, H, METRES, RADIANS = (6, 9, 7, 5, 8), 4, 0.05, 0.5
ANGLES = (0.0, 1e-9, 1e-4, 1.0, np.pi - 1e-2, np.pi - 1e-5, np.pi)


def near_pi(rng, n):
    """(n, 3, 3) turns by every angle that is hard, about random axes and the coordinate axes."""
    axes = np.concatenate([np.eye(3), rng.normal(size=(n, 3))])[:n]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return Rotation.from_rotvec(axes * np.resize(ANGLES, n)[:, None]).as_matrix()


def numbered(prefix, width):
    return tuple(f"{prefix}{k}" for k in range(width))


def arm_card(control="delta", form="axis_angle", state_form="axis_angle", **changes):
    """The gripper stands first and positions last, so that nothing works by its place."""
    turn = numbered("r", rot.WIDTH.get(form, 0))
    spec = {
        "names": ("grip", *turn, "z", "y", "x"),
        "control": control,
        "rotation": form,
        "gripper": "close_positive",
        "low": (-1.0,) * (4 + len(turn)),
        "high": (1.0,) * (4 + len(turn)),
        "rate_hz": 10.0,
    }
    seen = ("joint", *numbered("q", rot.WIDTH[state_form]), "px", "py", "pz")
    return RobotCard(
        name="arm",
        action=ActionSpec(**{**spec, **changes}),
        observation=ObservationSpec(cameras=("top",), state=seen),
    )


def arm_pose(control="delta", form="axis_angle", state_form="axis_angle", **changes):
    own = {}
    if control == "delta":
        own = {
            "state_position": ("px", "py", "pz"),
            "state_rotation": numbered("q", rot.WIDTH[state_form]),
            "state_form": state_form,
            "metres": METRES,
            "radians": RADIANS,
        }
    names = {"position": ("x", "y", "z"), "rotation": numbered("r", rot.WIDTH.get(form, 0)), "gripper": "grip"}
    return AbsolutePose(**{**names, **own, **changes})


def moved_by(position, rotation, action, form):
    """What an arm does that goes where it is sent: (3,), (3, 3) and one action in the order of `arm_card`."""
    turn = rot.to_matrix(action[1:-3].astype(np.float64) * RADIANS, form)
    return position + action[[-1, -2, -3]].astype(np.float64) * METRES, turn @ rotation


def delta_numbers(rng, length, form, state_form, start):
    actions = rng.uniform(-1, 1, (length, 7)).astype(np.float32)
    position, rotation, states = rng.normal(size=3), start, []
    for action in actions:
        states.append(np.concatenate([[9.0], rot.from_matrix(rotation, state_form), position]))
        position, rotation = moved_by(position, rotation, action, form)
    return actions, np.array(states, np.float32)


def absolute_numbers(rng, length, form):
    turn = rot.from_matrix(near_pi(rng, length), form)
    actions = np.concatenate([rng.uniform(-1, 1, (length, 1)), turn, rng.normal(size=(length, 3))], axis=1)
    return actions.astype(np.float32), rng.normal(size=(length, 4 + 3)).astype(np.float32)


def write_arm(root, card, numbers):
    storage, folders = ImageStorage(), []
    for k, (actions, states) in enumerate(numbers):
        picture = np.full((len(actions), 8, 8, 3), k, np.uint8)
        one = Episode(images={"top": picture}, state=states, actions=actions, task="reach", info={})
        folders.append(root.parent / f"staging-{root.name}" / f"{k:03d}")
        stage_episode(folders[-1], one, fps=10.0, storage=storage)
    assemble(folders, root, robot=card, fps=10.0, storage=storage)
    return root, numbers


def arm_settings(made, **changes):
    settings = {
        "root": str(made[0]),
        "horizon": H,
        "cameras": [],
        "image_size": 8,
        "action_dim_max": 12,
        "state_dim_max": 8,
        "embodiment": "arm",
        "validation_fraction": 0.25,
        "cache": False,
        "actions": arm_pose(),
    }
    return {**settings, **changes}


def arm_data(made, **changes):
    return flat.dataset(**arm_settings(made, **changes))
