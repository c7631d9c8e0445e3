"""Actions as absolute poses: what the state reached or the action commanded, and exactly the robot's actions again."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import lara.launch
from lara.config.build import build
from lara.data.actions import rotations as rot
from lara.data.actions.eef_pose import AbsolutePose
from lara.data.actions.normalize import Statistics
from lara.data.actions.representation import representation_from_dict
from lara.data.card import Cards, DataCard
from lara.data.episode import Episode
from lara.data.frames.encode import ImageStorage
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.write import assemble, stage_episode
from lara.errors import ConfigError, DataError
from lara.export.statistics import both
from lara.serve.policy import TrainedPolicy
from lara.specs import ActionSpec, ObservationSpec
from lara.types import ActionChunk
from tests.data import flat

FORMS = ("euler_xyz", "axis_angle", "quaternion_xyzw", "rot6d", "matrix")
MODES = ["identity", "min_max", "mean_std", "quantile"]
LENGTHS, H, METRES, RADIANS = (6, 9, 7, 5, 8), 4, 0.05, 0.5
ANGLES = (0.0, 1e-9, 1e-4, 1.0, np.pi - 1e-2, np.pi - 1e-5, np.pi)


def _near_pi(rng, n):
    """(n, 3, 3) turns by every angle that is hard, about random axes and the coordinate axes."""
    axes = np.concatenate([np.eye(3), rng.normal(size=(n, 3))])[:n]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return Rotation.from_rotvec(axes * np.resize(ANGLES, n)[:, None]).as_matrix()


def _names(prefix, width):
    return tuple(f"{prefix}{k}" for k in range(width))


def _robot(control="delta", form="axis_angle", state_form="axis_angle", **changes):
    """The gripper stands first and positions last, so that nothing works by its place."""
    turn = _names("r", rot.WIDTH.get(form, 0))
    spec = {
        "names": ("grip", *turn, "z", "y", "x"),
        "control": control,
        "rotation": form,
        "gripper": "close_positive",
        "low": (-1.0,) * (4 + len(turn)),
        "high": (1.0,) * (4 + len(turn)),
        "rate_hz": 10.0,
    }
    seen = ("joint", *_names("q", rot.WIDTH[state_form]), "px", "py", "pz")
    return RobotCard(
        name="arm",
        action=ActionSpec(**{**spec, **changes}),
        observation=ObservationSpec(cameras=("top",), state=seen),
    )


def _pose(control="delta", form="axis_angle", state_form="axis_angle", **changes):
    own = {}
    if control == "delta":
        own = {
            "state_position": ("px", "py", "pz"),
            "state_rotation": _names("q", rot.WIDTH[state_form]),
            "state_form": state_form,
            "metres": METRES,
            "radians": RADIANS,
        }
    names = {"position": ("x", "y", "z"), "rotation": _names("r", rot.WIDTH.get(form, 0)), "gripper": "grip"}
    return AbsolutePose(**{**names, **own, **changes})


def _move(position, rotation, action, form):
    """What an arm does that goes where it is sent: (3,), (3, 3) and one action in the order of `_robot`."""
    turn = rot.to_matrix(action[1:-3].astype(np.float64) * RADIANS, form)
    return position + action[[-1, -2, -3]].astype(np.float64) * METRES, turn @ rotation


def _delta_numbers(rng, length, form, state_form, start):
    actions = rng.uniform(-1, 1, (length, 7)).astype(np.float32)
    position, rotation, states = rng.normal(size=3), start, []
    for action in actions:
        states.append(np.concatenate([[9.0], rot.from_matrix(rotation, state_form), position]))
        position, rotation = _move(position, rotation, action, form)
    return actions, np.array(states, np.float32)


def _absolute_numbers(rng, length, form):
    turn = rot.from_matrix(_near_pi(rng, length), form)
    actions = np.concatenate([rng.uniform(-1, 1, (length, 1)), turn, rng.normal(size=(length, 3))], axis=1)
    return actions.astype(np.float32), rng.normal(size=(length, 4 + 3)).astype(np.float32)


def _write(root, card, numbers):
    storage, folders = ImageStorage(), []
    for k, (actions, states) in enumerate(numbers):
        picture = np.full((len(actions), 8, 8, 3), k, np.uint8)
        one = Episode(images={"top": picture}, state=states, actions=actions, task="reach", info={})
        folders.append(root.parent / f"staging-{root.name}" / f"{k:03d}")
        stage_episode(folders[-1], one, fps=10.0, storage=storage)
    assemble(folders, root, robot=card, fps=10.0, storage=storage)
    return root, numbers


@pytest.fixture(scope="module")
def delta(tmp_path_factory):
    rng = np.random.default_rng(0)
    starts = _near_pi(rng, len(LENGTHS) + 2)[2:]
    numbers = [_delta_numbers(rng, n, "axis_angle", "axis_angle", r) for n, r in zip(LENGTHS, starts, strict=True)]
    return _write(tmp_path_factory.mktemp("pose") / "delta", _robot(), numbers)


@pytest.fixture(scope="module")
def absolute(tmp_path_factory):
    rng = np.random.default_rng(1)
    card = _robot("absolute")
    return _write(
        tmp_path_factory.mktemp("pose") / "absolute", card, [_absolute_numbers(rng, n, "axis_angle") for n in LENGTHS]
    )


def _settings(made, **changes):
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
        "actions": _pose(),
    }
    return {**settings, **changes}


def _data(made, **changes):
    return flat.dataset(**_settings(made, **changes))


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
    turns = np.concatenate([_near_pi(np.random.default_rng(2), 40), Rotation.random(40, random_state=3).as_matrix()])
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
    actions, states = _absolute_numbers(np.random.default_rng(5), 40, form)
    own = _pose("absolute", form).bind(_robot("absolute", form))
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
    own = _pose("delta", form, state_form).bind(_robot("delta", form, state_form))
    for start in _near_pi(rng, 7):
        actions, states = _delta_numbers(rng, 12, form, state_form, start)
        poses, real = own.poses(actions, states, last=np.array([11]))
        np.testing.assert_array_equal(real, np.arange(12) < 11)
        np.testing.assert_allclose(poses[:-1, :3], states[1:, -3:], atol=1e-7)
        reached = rot.matrix_to_rot6d(rot.to_matrix(states[1:, 1:-3], state_form))
        np.testing.assert_allclose(poses[:-1, 3:9], reached, atol=1e-6)
        np.testing.assert_allclose(own.commands(poses[:-1], states[0]), actions[:-1], atol=1e-5)


def test_what_is_near_a_rotation_is_read_as_one_by_gram_schmidt():
    rng = np.random.default_rng(7)
    for control in ("absolute", "delta"):
        own = _pose(control).bind(_robot(control))
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
    data = _data(made, actions=_pose(control), action_normalizer=mode, state_normalizer=mode)
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
    data = _data(delta)
    batch = data.batch([_starts()[1] + 2])
    states = delta[1][1][1]
    position, rotation = np.array([3.0, -2.0, 1.0]), Rotation.from_rotvec([0.3, 0.2, -0.4]).as_matrix()
    elsewhere = np.concatenate([[0.0], rot.matrix_to_axis_angle(rotation), position])
    for k, action in enumerate(_served(batch.actions_BHA, data.card(), elsewhere)):
        position, rotation = _move(position, rotation, action, "axis_angle")
        np.testing.assert_allclose(position, states[3 + k, -3:], atol=1e-5)
        np.testing.assert_allclose(rotation, rot.axis_angle_to_matrix(states[3 + k, 1:4]), atol=1e-5)


def test_statistics_are_of_the_training_poses_and_given_on(delta):
    data = _data(delta)
    card = data.card()
    rows = []
    for k in data.training_episodes:
        actions, states = delta[1][k]
        turn = rot.matrix_to_rot6d(rot.axis_angle_to_matrix(states[1:, 1:4]))
        rows.append(np.concatenate([states[1:, -3:], turn, actions[:-1, :1]], axis=1).astype(np.float32))
    assert card.statistics["action"] == Statistics.of(np.concatenate(rows))
    index, few = np.arange(sum(LENGTHS)), {"validation_fraction": 0.5, "max_episodes_per_task": 1}
    own = _data(delta, **few)
    for given in (card.statistics, card.to_dict()["statistics"]):
        second = _data(delta, **few, statistics=given)
        assert second.card().statistics == card.statistics
        assert torch.equal(second.batch(index).actions_BHA, data.batch(index).actions_BHA)
    assert not torch.equal(own.batch(index).actions_BHA, data.batch(index).actions_BHA)
    with pytest.raises(ConfigError, match="describe 7 action dimensions, the dataset has 10"):
        _data(delta, statistics=_data(delta, actions=None).card().statistics).prepare()


def test_states_pictures_and_who_is_held_out_do_not_change(delta):
    plain, posed = _data(delta, actions=None, cameras=["top"]), _data(delta, cameras=["top"])
    index = np.arange(sum(LENGTHS))
    a, b = plain.batch(index), posed.batch(index)
    assert plain.training_episodes == posed.training_episodes
    assert torch.equal(a.observation.state_BS, b.observation.state_BS)
    assert torch.equal(a.observation.images_BVCHW, b.observation.images_BVCHW)
    assert not torch.equal(a.actions_BHA, b.actions_BHA)


def test_a_run_inherits_only_from_one_with_the_same_poses(delta, monkeypatch):
    card = _data(delta).card()
    monkeypatch.setattr(lara.launch, "read_checkpoint", lambda path: SimpleNamespace(card=Cards([card]).to_dict()))
    layout = _pose().to_dict()
    assert build(layout, "data") == _pose() == representation_from_dict(layout)
    data = flat.config(**_settings(delta, actions=layout))
    assert lara.launch.build_data({"inherit": "run", "data": data}).card() == card
    for other in (None, {**layout, "metres": 0.1}):
        with pytest.raises(ConfigError, match=r"data\.actions="):
            lara.launch.build_data({"inherit": "run", "data": {**data, "actions": other}})


WRONG = {
    "no orientation": ({"robot": _robot(form="none")}, "rotation=none"),
    "velocity": ({"robot": _robot("velocity")}, "control=velocity"),
    "changes of a quaternion": ({"robot": _robot(form="quaternion_xyzw")}, "quaternion_xyzw"),
    "no gripper": ({"actions": _pose(gripper=None)}, "gripper=None"),
    "no such action": ({"actions": _pose(position=("x", "y", "zz"))}, "no 'zz'"),
    "no such state": ({"actions": _pose(state_position=("px", "py", "p"))}, "no 'p'"),
    "too few": ({"actions": _pose(rotation=("r0", "r1"))}, "3 different names"),
    "twice": ({"actions": _pose(position=("x", "y", "r0"))}, "each action of 'arm' once"),
    "no unit": ({"actions": _pose(metres=None)}, "must give all of"),
    "a unit too many": ({"actions": _pose(), "robot": _robot("absolute")}, "must give none of"),
    "too narrow": ({"action_dim_max": 9}, "action_dim_max is 9"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_settings_without_sense_are_refused(delta, changes, message):
    with pytest.raises(ConfigError, match=message):
        _data(delta, **changes)


def test_values_without_sense_are_refused():
    for changes in ({"metres": 0.0}, {"radians": -1.0}, {"tolerance": 0.0}):
        with pytest.raises(ConfigError, match="positive"):
            _pose(**changes)
    with pytest.raises(ConfigError, match="axis_angle"):
        dataclasses.replace(_pose(), state_form="axis-angle")


def test_meta_worlds_robot_has_no_pose():
    from sim_eval.metaworld.environment import ACTION, STATE

    robot = RobotCard(name="metaworld", action=ACTION, observation=ObservationSpec(cameras=(), state=STATE))
    with pytest.raises(ConfigError, match="no orientation"):
        _pose().bind(robot)


def _lagging(actions, states, share):
    """The states of an arm that covers only a share of each command."""
    position, rotation, out = states[0, -3:].astype(np.float64), rot.axis_angle_to_matrix(states[0, 1:4]), []
    for action in actions:
        out.append(np.concatenate([[9.0], rot.matrix_to_axis_angle(rotation), position]))
        position, rotation = _move(position, rotation, action * np.float32(share), "axis_angle")
    return np.array(out)


def test_an_arm_that_does_not_go_where_it_is_sent_is_refused():
    rng = np.random.default_rng(9)
    actions, states = _delta_numbers(rng, 60, "axis_angle", "axis_angle", np.eye(3))
    last = np.array([59])
    own = _pose().bind(_robot())
    own.poses(actions, _lagging(actions, states, 0.9), last)  # little enough
    with pytest.raises(ConfigError, match=r"\(positions\) are 0\.20 of the recorded commands and 80%"):
        own.poses(actions, _lagging(actions, states, 0.2), last)
    with pytest.raises(ConfigError, match="does not go where"):  # units twice too small
        _pose(metres=METRES / 2).bind(_robot()).poses(actions, states, last)
    turned, down = states.copy(), np.diag([1.0, -1.0, -1.0])  # a hand that points down and turns in its own frame
    for k, action in enumerate(actions):
        turned[k, 1:4] = rot.matrix_to_axis_angle(down)
        down = down @ rot.axis_angle_to_matrix(action[1:4] * RADIANS)
    with pytest.raises(ConfigError, match=r"\(rotations\)"):
        own.poses(actions, turned, last)
    still = actions * np.float32([1, 0, 0, 0, 1, 1, 1])  # an arm that never turns, whose readings tremble
    _, states = _delta_numbers(rng, 60, "axis_angle", "axis_angle", np.eye(3))
    states = _lagging(still, states, 1.0) + 1e-4 * rng.normal(size=states.shape)
    own.poses(still, states, last)


def test_formats_without_a_way_back_are_refused(delta):
    with pytest.raises(ConfigError, match="to=native"):
        both(_data(delta).card())
    foreign = _data(delta).card().to_dict()
    foreign["actions"]["polar"] = True
    with pytest.raises(DataError, match="polar"):
        DataCard.from_dict(foreign)
