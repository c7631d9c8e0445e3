"""Poses that cannot be read, settings without sense, arms that do not go where they are sent: all refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lara.data.actions import rotations as rot
from lara.data.card import DataCard
from lara.data.robot import RobotCard
from lara.errors import ConfigError, DataError
from lara.export.statistics import both
from lara.specs import ObservationSpec
from tests.data.actions.arm import (
    METRES,
    RADIANS,
    arm_card,
    arm_data,
    arm_pose,
    delta_numbers,
    moved_by,
)

WRONG = {
    "no orientation": ({"robot": arm_card(form="none")}, "rotation=none"),
    "velocity": ({"robot": arm_card("velocity")}, "control=velocity"),
    "changes of a quaternion": ({"robot": arm_card(form="quaternion_xyzw")}, "quaternion_xyzw"),
    "no gripper": ({"actions": arm_pose(gripper=None)}, "gripper=None"),
    "no such action": ({"actions": arm_pose(position=("x", "y", "zz"))}, "no 'zz'"),
    "no such state": ({"actions": arm_pose(state_position=("px", "py", "p"))}, "no 'p'"),
    "too few": ({"actions": arm_pose(rotation=("r0", "r1"))}, "3 different names"),
    "twice": ({"actions": arm_pose(position=("x", "y", "r0"))}, "each action of 'arm' once"),
    "no unit": ({"actions": arm_pose(metres=None)}, "must give all of"),
    "a unit too many": ({"actions": arm_pose(), "robot": arm_card("absolute")}, "must give none of"),
    "too narrow": ({"action_dim_max": 9}, "action_dim_max is 9"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_settings_without_sense_are_refused(delta, changes, message):
    with pytest.raises(ConfigError, match=message):
        arm_data(delta, **changes)


def test_values_without_sense_are_refused():
    for changes in ({"metres": 0.0}, {"radians": -1.0}, {"tolerance": 0.0}):
        with pytest.raises(ConfigError, match="positive"):
            arm_pose(**changes)
    with pytest.raises(ConfigError, match="axis_angle"):
        dataclasses.replace(arm_pose(), state_form="axis-angle")


def test_meta_worlds_robot_has_no_pose():
    from sim_eval.metaworld.environment import ACTION, STATE

    robot = RobotCard(name="metaworld", action=ACTION, observation=ObservationSpec(cameras=(), state=STATE))
    with pytest.raises(ConfigError, match="no orientation"):
        arm_pose().bind(robot)


def _lagging(actions, states, share):
    """The states of an arm that covers only a share of each command."""
    position, rotation, out = states[0, -3:].astype(np.float64), rot.axis_angle_to_matrix(states[0, 1:4]), []
    for action in actions:
        out.append(np.concatenate([[9.0], rot.matrix_to_axis_angle(rotation), position]))
        position, rotation = moved_by(position, rotation, action * np.float32(share), "axis_angle")
    return np.array(out)


def test_an_arm_that_does_not_go_where_it_is_sent_is_refused():
    rng = np.random.default_rng(9)
    actions, states = delta_numbers(rng, 60, "axis_angle", "axis_angle", np.eye(3))
    last = np.array([59])
    own = arm_pose().bind(arm_card())
    own.poses(actions, _lagging(actions, states, 0.9), last)  # little enough
    with pytest.raises(ConfigError, match=r"\(positions\) are 0\.20 of the recorded commands and 80%"):
        own.poses(actions, _lagging(actions, states, 0.2), last)
    with pytest.raises(ConfigError, match="does not go where"):  # units twice too small
        arm_pose(metres=METRES / 2).bind(arm_card()).poses(actions, states, last)
    turned, down = states.copy(), np.diag([1.0, -1.0, -1.0])  # a hand that points down and turns in its own frame
    for k, action in enumerate(actions):
        turned[k, 1:4] = rot.matrix_to_axis_angle(down)
        down = down @ rot.axis_angle_to_matrix(action[1:4] * RADIANS)
    with pytest.raises(ConfigError, match=r"\(rotations\)"):
        own.poses(actions, turned, last)
    still = actions * np.float32([1, 0, 0, 0, 1, 1, 1])  # an arm that never turns, whose readings tremble
    _, states = delta_numbers(rng, 60, "axis_angle", "axis_angle", np.eye(3))
    states = _lagging(still, states, 1.0) + 1e-4 * rng.normal(size=states.shape)
    own.poses(still, states, last)


def test_formats_without_a_way_back_are_refused(delta):
    with pytest.raises(ConfigError, match="to=native"):
        both(arm_data(delta).card())
    foreign = arm_data(delta).card().to_dict()
    foreign["actions"]["polar"] = True
    with pytest.raises(DataError, match="polar"):
        DataCard.from_dict(foreign)
