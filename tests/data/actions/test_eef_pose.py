"""Actions as absolute poses: what the state reached or the action commanded, and exactly the robot's actions again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import lara.launch
from lara.config.build import build
from lara.data.actions import rotations as rot
from lara.data.actions.normalize import Statistics
from lara.data.actions.representation import representation_from_dict
from lara.data.card import Cards, DataCard
from lara.errors import ConfigError, DataError
from lara.serve.policy import TrainedPolicy
from lara.types import ActionChunk
from tests.data import flat
from tests.data.actions.arm import (
    ANGLES,
    FORMS,
    LENGTHS,
    MODES,
    H,
    absolute_numbers,
    arm_card,
    arm_data,
    arm_pose,
    arm_settings,
    delta_numbers,
    moved_by,
    near_pi,
)


class Echo(torch.nn.Module):
    """Answers with the chunk it was given."""

    def __init__(self, chunk):
        super().__init__()
        self.chunk = torch.nn.Parameter(chunk)

    def act(self, observation, *, steps, generator=None):
        assert observation.action_dims_BA.sum() == 10
        return ActionChunk(actions_BHA=self.chunk.detach())


def _served(chunk, card, state):
    policy = TrainedPolicy(Echo(chunk), card, steps=1, identity="x")
    return policy.act({"images": {}, "state": state, "instruction": "x", "key": (0,)})


def _starts():
    return np.cumsum((0, *LENGTHS))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_every_orientation(form):
    turns = np.concatenate([near_pi(np.random.default_rng(2), 40), Rotation.random(40, random_state=3).as_matrix()])
    again = rot.to_matrix(rot.from_matrix(turns, form), form)
    np.testing.assert_allclose(again, turns, atol=1e-7)
    assert rot.from_matrix(turns, form).shape == (80, rot.WIDTH[form])


def test_axis_angles_are_scipys_at_every_angle_and_beyond_a_half_turn():
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(60, 3))
    vectors *= np.resize((*ANGLES, 4.0, 6.2, 2 * np.pi, 9.0), 60)[:, None] / np.linalg.norm(
        vectors, axis=1, keepdims=True
    )
    truth = Rotation.from_rotvec(vectors)
    np.testing.assert_allclose(rot.axis_angle_to_matrix(vectors), truth.as_matrix(), atol=1e-12)
    below = truth.magnitude() < np.pi - 1e-3
    found = rot.matrix_to_axis_angle(truth.as_matrix())
    np.testing.assert_allclose(found[below], truth.as_rotvec()[below], atol=1e-9)
    assert (np.linalg.norm(found, axis=1) <= np.pi + 1e-12).all()


def test_nine_numbers_that_are_no_rotation_are_refused():
    for wrong in (np.eye(3) * 1.1, np.diag([1.0, 1.0, -1.0]), np.ones((3, 3))):
        with pytest.raises(DataError, match="orthonormal"):
            rot.to_matrix(wrong.reshape(9), "matrix")


@pytest.mark.parametrize("form", FORMS[:4])
def test_commanded_poses_become_the_robots_own_actions_again(form):
    actions, states = absolute_numbers(np.random.default_rng(5), 40, form)
    own = arm_pose("absolute", form).bind(arm_card("absolute", form))
    poses, real = own.poses(actions, states, last=np.array([19, 39]))
    assert real.all()  # a commanded pose exists at every step
    np.testing.assert_array_equal(poses[:, :3], actions[:, [-1, -2, -3]])
    np.testing.assert_array_equal(poses[:, 9], actions[:, 0])
    np.testing.assert_allclose(np.linalg.norm(poses[:, 3:9].reshape(-1, 2, 3), axis=-1), 1, atol=1e-6)
    again = own.commands(poses[:, None], states)[:, 0]
    np.testing.assert_allclose(again[:, [0, -1, -2, -3]], actions[:, [0, -1, -2, -3]], atol=1e-7)
    turns = (rot.to_matrix(x[:, 1:-3], form) for x in (again, actions))
    np.testing.assert_allclose(*turns, atol=1e-5)
    # the numbers too, but where one orientation has two names: half turns, and Euler angles at the pole
    angle = Rotation.from_matrix(rot.to_matrix(actions[:, 1:-3], form)).magnitude()
    clear = angle < np.pi - 1e-4
    if form == "euler_xyz":
        clear &= np.abs(np.abs(actions[:, 2]) - np.pi / 2) > 1e-3
    assert clear.sum() > 25
    np.testing.assert_allclose(again[clear], actions[clear], atol=1e-5)


@pytest.mark.parametrize("form", ["euler_xyz", "axis_angle"])
@pytest.mark.parametrize("state_form", FORMS)
def test_displacements_between_reached_poses_are_the_commands_again(form, state_form):
    rng = np.random.default_rng(6)
    own = arm_pose("delta", form, state_form).bind(arm_card("delta", form, state_form))
    for start in near_pi(rng, 7):
        actions, states = delta_numbers(rng, 12, form, state_form, start)
        poses, real = own.poses(actions, states, last=np.array([11]))
        np.testing.assert_array_equal(real, np.arange(12) < 11)
        np.testing.assert_allclose(poses[:-1, :3], states[1:, -3:], atol=1e-7)
        reached = rot.matrix_to_rot6d(rot.to_matrix(states[1:, 1:-3], state_form))
        np.testing.assert_allclose(poses[:-1, 3:9], reached, atol=1e-6)
        np.testing.assert_allclose(own.commands(poses[:-1], states[0]), actions[:-1], atol=1e-5)


def test_what_is_near_a_rotation_is_read_as_one_by_gram_schmidt():
    rng = np.random.default_rng(7)
    for control in ("absolute", "delta"):
        own = arm_pose(control).bind(arm_card(control))
        poses = np.concatenate(
            [
                rng.normal(size=(20, H, 3)),
                rot.matrix_to_rot6d(Rotation.random(20 * H, random_state=8).as_matrix()).reshape(20, H, 6),
                rng.normal(size=(20, H, 1)),
            ],
            axis=-1,
        )
        other = poses.copy()
        long, tall, lean = (
            rng.uniform(0.2, 3, (2, 20, H, 1)),
            rng.uniform(0.2, 3, (20, H, 1)),
            rng.normal(size=(20, H, 1)),
        )
        other[..., 3:6] = poses[..., 3:6] * long[0]
        other[..., 6:9] = poses[..., 6:9] * tall + poses[..., 3:6] * lean
        state = np.concatenate([[9.0], [0.1, -0.2, 3.0], [0.0, 1.0, 2.0]])
        states = np.tile(state, (20, 1))
        np.testing.assert_allclose(own.commands(other, states), own.commands(poses, states), atol=1e-6)
        with pytest.raises(DataError, match="no direction"):
            own.commands(np.zeros((20, H, 10)), states)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("control", ["delta", "absolute"])
def test_batch_card_and_server_are_one_round_trip(delta, absolute, control, mode):
    made = delta if control == "delta" else absolute
    data = arm_data(made, actions=arm_pose(control), action_normalizer=mode, state_normalizer=mode)
    card = DataCard.from_dict(json.loads(json.dumps(data.card().to_dict())))
    assert card == data.card()
    for k, t in ((0, 0), (1, 3), (4, 2), (3, 3)):
        actions, states = made[1][k]
        batch = data.batch([_starts()[k] + t])
        count = min(H, LENGTHS[k] - t - (control == "delta"))  # the last frame leads to no pose that was seen
        mask = batch.action_mask_BHA[0].numpy()
        np.testing.assert_array_equal(mask, (np.arange(H) < count)[:, None] & (np.arange(12) < 10))
        assert not batch.actions_BHA[0].numpy()[~mask].any()
        out = _served(batch.actions_BHA[:, :count], card, states[t])
        assert out.dtype == np.float32
        truth = actions[t : t + count]
        np.testing.assert_allclose(out[:, [0, -1, -2, -3]], truth[:, [0, -1, -2, -3]], atol=1e-5)
        turns = (rot.axis_angle_to_matrix(x[:, 1:4]) for x in (out, truth))
        np.testing.assert_allclose(*turns, atol=1e-5)


def test_served_displacements_lead_an_arm_from_anywhere_to_the_poses(delta):
    data = arm_data(delta)
    batch = data.batch([_starts()[1] + 2])
    states = delta[1][1][1]
    position, rotation = np.array([3.0, -2.0, 1.0]), Rotation.from_rotvec([0.3, 0.2, -0.4]).as_matrix()
    elsewhere = np.concatenate([[0.0], rot.matrix_to_axis_angle(rotation), position])
    for k, action in enumerate(_served(batch.actions_BHA, data.card(), elsewhere)):
        position, rotation = moved_by(position, rotation, action, "axis_angle")
        np.testing.assert_allclose(position, states[3 + k, -3:], atol=1e-5)
        np.testing.assert_allclose(rotation, rot.axis_angle_to_matrix(states[3 + k, 1:4]), atol=1e-5)


def test_statistics_are_of_the_training_poses_and_given_on(delta):
    data = arm_data(delta)
    card = data.card()
    rows = []
    for k in data.training_episodes:
        actions, states = delta[1][k]
        turn = rot.matrix_to_rot6d(rot.axis_angle_to_matrix(states[1:, 1:4]))
        rows.append(np.concatenate([states[1:, -3:], turn, actions[:-1, :1]], axis=1).astype(np.float32))
    assert card.statistics["action"] == Statistics.of(np.concatenate(rows))
    index, few = np.arange(sum(LENGTHS)), {"validation_fraction": 0.5, "max_episodes_per_task": 1}
    own = arm_data(delta, **few)
    for given in (card.statistics, card.to_dict()["statistics"]):
        second = arm_data(delta, **few, statistics=given)
        assert second.card().statistics == card.statistics
        assert torch.equal(second.batch(index).actions_BHA, data.batch(index).actions_BHA)
    assert not torch.equal(own.batch(index).actions_BHA, data.batch(index).actions_BHA)
    with pytest.raises(ConfigError, match="describe 7 action dimensions, the dataset has 10"):
        arm_data(delta, statistics=arm_data(delta, actions=None).card().statistics).prepare()


def test_states_pictures_and_who_is_held_out_do_not_change(delta):
    plain, posed = arm_data(delta, actions=None, cameras=["top"]), arm_data(delta, cameras=["top"])
    index = np.arange(sum(LENGTHS))
    a, b = plain.batch(index), posed.batch(index)
    assert plain.training_episodes == posed.training_episodes
    assert torch.equal(a.observation.state_BS, b.observation.state_BS)
    assert torch.equal(a.observation.images_BVCHW, b.observation.images_BVCHW)
    assert not torch.equal(a.actions_BHA, b.actions_BHA)


def test_a_run_inherits_only_from_one_with_the_same_poses(delta, monkeypatch):
    card = arm_data(delta).card()
    monkeypatch.setattr(lara.launch, "read_checkpoint", lambda path: SimpleNamespace(card=Cards([card]).to_dict()))
    layout = arm_pose().to_dict()
    assert build(layout, "data") == arm_pose() == representation_from_dict(layout)
    data = flat.config(**arm_settings(delta, actions=layout))
    assert lara.launch.build_data({"inherit": "run", "data": data}).card() == card
    for other in (None, {**layout, "metres": 0.1}):
        with pytest.raises(ConfigError, match=r"data\.actions="):
            lara.launch.build_data({"inherit": "run", "data": {**data, "actions": other}})
