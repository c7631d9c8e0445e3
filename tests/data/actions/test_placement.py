"""The unified layout: what goes in comes out, only real places are marked, and serving finds the way back."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from lara.config.build import build
from lara.config.compose import compose, resolved
from lara.data.actions.in_order import InOrder
from lara.data.actions.unified import Unified
from lara.data.actions.unified_actions import ACTION_NAMES, STATE_NAMES
from lara.data.card import DataCard
from lara.data.robot import RobotCard
from lara.errors import ConfigError, DataError
from lara.serve.policy import TrainedPolicy
from lara.specs import ActionSpec, ObservationSpec
from lara.types import ActionChunk
from tests.data import flat, worlds

ARM = Unified(
    action={"x": "left_x", "turn": "left_yaw", "grip": "left_gripper"},
    state={"hand": "left_z", "joint": None, "open": "left_gripper"},
    metres=0.05,
    radians=0.5,
    gripper_state=(0.08, 0.0),
)


def _robot(gripper="close_positive", **changes):
    spec = {
        "names": ("x", "turn", "grip"),
        "control": "delta",
        "rotation": "euler_xyz",
        "gripper": gripper,
        "low": (-1.0, -1.0, -2.0),
        "high": (1.0, 1.0, 1.0),
        "rate_hz": 10.0,
    }
    return RobotCard(
        name="arm",
        action=ActionSpec(**{**spec, **changes}),
        observation=ObservationSpec(cameras=("top",), state=("hand", "joint", "open")),
    )


def test_actions_are_converted_to_unified_units_and_back():
    bound = ARM.bind(_robot())
    action, state = bound.action, bound.state
    robot = np.array([[1.0, -1.0, -2.0], [0.5, 0.0, 1.0]])
    np.testing.assert_allclose(action.convert(robot), [[0.05, -0.5, 1.0], [0.025, 0.0, 0.0]])
    np.testing.assert_allclose(ARM.bind(_robot("open_positive")).action.convert(robot)[:, 2], [0.0, 1.0])
    wide = action.spread(action.convert(robot), 44)
    assert {ACTION_NAMES[k] for k in np.flatnonzero(wide.any(axis=0))} <= set(ARM.action.values())
    assert [ACTION_NAMES[k] for k in np.flatnonzero(action.dims(44))] == ["left_x", "left_yaw", "left_gripper"]
    np.testing.assert_allclose(action.invert(action.gather(wide)), robot)
    np.testing.assert_allclose(state.convert(np.array([3.0, 7.0, 0.08])), [3.0, 0.0])
    assert [STATE_NAMES[k] for k in state.places] == ["left_z", "left_gripper"]


def test_in_order_is_the_robots_own_order():
    bound = InOrder().bind(_robot())
    action, state = bound.action, bound.state
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    for place in (action, state):
        np.testing.assert_array_equal(place.spread(place.convert(x), 5), np.pad(x, ((0, 0), (0, 2))))
        assert not place.kept.any()


@pytest.mark.parametrize(
    ("robot", "layout", "message"),
    [
        (_robot(control="absolute"), ARM, "actions_between"),
        (_robot(rotation="axis_angle"), ARM, "axis_angle"),
        (_robot(gripper="none"), ARM, "gripper=none"),
        (_robot(), dataclasses.replace(ARM, action={"x": "left_x"}), "exactly"),
        (_robot(), dataclasses.replace(ARM, action={**ARM.action, "x": "left_w"}), "no unified action"),
        (_robot(), dataclasses.replace(ARM, action={**ARM.action, "x": "left_yaw"}), "one place"),
        (_robot(), dataclasses.replace(ARM, state={**ARM.state, "joint": "left_z"}), "one place"),
    ],
    ids=["absolute", "axis angle", "no gripper", "left out", "unknown", "twice", "state twice"],
)
def test_what_the_layout_cannot_hold_is_refused(robot, layout, message):
    with pytest.raises(ConfigError, match=message):
        layout.bind(robot)
    with pytest.raises(ConfigError, match="positive"):
        dataclasses.replace(layout, metres=0.0)


UNIFIED = {"a0": "right_x", "a1": "right_y", "a2": "right_gripper"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("actions") / "set"
    return root, worlds.write(root, (5, 9, 7, 6, 8, 4))


def _data(made, **changes):
    card = worlds.robot()
    robot = dataclasses.replace(card, action=dataclasses.replace(card.action, gripper="close_positive"))
    settings = {
        "root": made[0],
        "horizon": 4,
        "cameras": ["top"],
        "image_size": 16,
        "action_dim_max": 44,
        "state_dim_max": 46,
        "embodiment": "toy",
        "validation_fraction": 0.25,
        "cache": False,
        "robot": robot,
        "actions": Unified(action=UNIFIED, state={"s0": "right_x", "s1": None}),
    }
    return flat.dataset(**{**settings, **changes})


@pytest.mark.parametrize("mode", ["identity", "min_max", "mean_std", "quantile"])
def test_a_batch_in_the_layout_holds_the_same_actions(made, mode):
    plain = _data(made, actions=None, action_normalizer="identity", state_normalizer="identity")
    unified = _data(made, action_normalizer=mode, state_normalizer=mode)
    card = DataCard.from_dict(json.loads(json.dumps(unified.card().to_dict())))
    assert card.to_dict() == unified.card().to_dict()
    a, b = (data.batch(np.arange(39)) for data in (plain, unified))
    places = [ACTION_NAMES.index(name) for name in UNIFIED.values()]
    assert b.observation.action_dims_BA[0].nonzero().flatten().tolist() == places
    assert torch.equal(b.action_mask_BHA[..., places], a.action_mask_BHA[..., :3])
    others = [k for k in range(44) if k not in places]
    assert not b.actions_BHA[..., others].any()
    assert not b.action_mask_BHA[..., others].any()
    real = a.action_mask_BHA[..., 0].numpy()
    np.testing.assert_allclose(
        card.robot_actions(b.actions_BHA.numpy(), a.observation.state_BS.numpy()[:, :2])[real],
        a.actions_BHA.numpy()[..., :3][real],
        atol=1e-5,
    )
    # a gripper is a probability in every mode: closed (here +1) is 0, open is 1
    np.testing.assert_allclose(
        b.actions_BHA[..., places[2]].numpy()[real], (1 - a.actions_BHA[..., 2].numpy()[real]) / 2, atol=1e-6
    )
    np.testing.assert_allclose(
        card.padded_states(a.observation.state_BS.numpy()[:, :2]), b.observation.state_BS.numpy(), atol=1e-5
    )
    assert b.observation.state_BS.any(dim=0).nonzero().flatten().tolist() == [STATE_NAMES.index("right_x")]


def test_serving_speaks_robot_units_whatever_the_layout(made):
    class Echo(torch.nn.Module):
        """Answers with the chunk it was given."""

        def __init__(self, chunk):
            super().__init__()
            self.chunk = torch.nn.Parameter(chunk)

        def act(self, observation, *, steps, generator=None):
            assert observation.action_dims_BA.shape[1] == self.chunk.shape[2]
            self.seen = observation
            return ActionChunk(actions_BHA=self.chunk.detach())

    image = np.zeros((16, 16, 3), np.uint8)
    for data in (_data(made), _data(made, actions=None)):
        batch = data.batch([10])
        policy = TrainedPolicy(Echo(batch.actions_BHA), data.card(), steps=1, identity="x")
        state = made[1][1].state[5]
        out = policy.act({"images": {"top": image}, "state": state, "instruction": "x", "key": (0,)})
        np.testing.assert_allclose(out, made[1][1].actions[5:9], atol=1e-5)
        torch.testing.assert_close(policy.system.seen.state_BS, batch.observation.state_BS)
        assert torch.equal(policy.system.seen.action_dims_BA, batch.observation.action_dims_BA)


@pytest.mark.parametrize(
    "actions",
    [
        None,
        {"_target_": "lara.data.dataset.Dataset", "root": "x"},
        {"_target_": "os.path.join"},
        {"_target_": "lara.data.actions.unified.Unified", "action": 3, "state": {}},
        {"_target_": "lara.data.actions.in_order.InOrder", "more": 1},
    ],
    ids=["nothing", "a dataset", "a function", "a number for names", "an argument too many"],
)
def test_a_card_whose_actions_are_no_representation_is_refused(made, actions):
    with pytest.raises((ConfigError, DataError)):
        DataCard.from_dict({**_data(made, actions=None).card().to_dict(), "actions": actions})


def test_places_beyond_the_padded_width_are_refused(made):
    with pytest.raises(ConfigError, match="action_dim_max is 8"):
        _data(made, action_dim_max=8)


def test_the_meta_world_layout_of_the_recipes_fits_meta_worlds_robot():
    from sim_eval.metaworld.environment import ACTION, STATE

    layout = build(resolved(compose("train", ["experiment=latbot/tiny_lam", "data.root=x"]))["data"]["actions"], "data")
    robot = RobotCard(name="metaworld", action=ACTION, observation=ObservationSpec(cameras=(), state=STATE))
    bound = layout.bind(robot)
    action, state = bound.action, bound.state
    np.testing.assert_allclose(action.convert(np.array([1.0, 0.0, 0.0, 1.0])), [0.01, 0.0, 0.0, 0.0])
    assert [STATE_NAMES[k] for k in state.places] == ["right_x", "right_y", "right_z", "right_gripper"]
