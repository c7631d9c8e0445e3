"""Episode, RobotCard, DataCard: what they refuse, and that JSON loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lara.data.actions.in_order import InOrder
from lara.data.actions.normalize import Statistics
from lara.data.augment.shifts import random_shifts, shift
from lara.data.card import Cards, DataCard
from lara.data.episode import Episode
from lara.data.robot import RobotCard
from lara.errors import ConfigError, DataError, SpecError
from tests.data import worlds


def make(**changes) -> Episode:
    fields = {
        "images": {"top": np.zeros((4, 8, 8, 3), np.uint8)},
        "state": np.zeros((4, 2), np.float32),
        "actions": np.zeros((4, 3), np.float32),
        "task": "push",
        "info": {"seed": 1},
    }
    return Episode(**{**fields, **changes})


WRONG = {
    "blank task": {"task": "  "},
    "state of another dtype": {"state": np.zeros((4, 2))},
    "state of another length": {"state": np.zeros((3, 2), np.float32)},
    "no steps": {"actions": np.zeros((0, 3), np.float32), "state": np.zeros((0, 2), np.float32), "images": {}},
    "flat actions": {"actions": np.zeros(4, np.float32)},
    "nan state": {"state": np.full((4, 2), np.nan, np.float32)},
    "infinite action": {"actions": np.full((4, 3), np.inf, np.float32)},
    "float images": {"images": {"top": np.zeros((4, 8, 8, 3), np.float32)}},
    "channels first": {"images": {"top": np.zeros((4, 3, 8, 8), np.uint8)}},
    "missing image": {"images": {"top": np.zeros((3, 8, 8, 3), np.uint8)}},
    "slash in camera": {"images": {"a/b": np.zeros((4, 8, 8, 3), np.uint8)}},
    "list in info": {"info": {"seed": [1]}},
    "nan in info": {"info": {"score": float("nan")}},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_an_episode_that_is_not_one_is_refused(changes):
    with pytest.raises(DataError):
        make(**changes)


def test_an_episode_may_lack_cameras_or_a_robot():
    assert len(make()) == 4
    assert len(make(images={})) == 4
    assert len(make(state=np.zeros((4, 0), np.float32), actions=np.zeros((4, 0), np.float32))) == 4


def test_the_message_names_frame_and_dimension():
    state = np.zeros((4, 2), np.float32)
    state[2, 1] = np.nan
    with pytest.raises(DataError, match=r"state.*nan at frame 2, dimension 1"):
        make(state=state)


def test_robot_card_survives_json():
    card = worlds.robot()
    assert RobotCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    with pytest.raises(SpecError):
        RobotCard.from_dict({**card.to_dict(), "colour": "red"})


def data_card() -> DataCard:
    rng = np.random.default_rng(0)
    return DataCard(
        robot=worlds.robot(),
        statistics={"action": Statistics.of(rng.normal(size=(5, 3))), "state": Statistics.of(rng.normal(size=(5, 2)))},
        action_normalizer="quantile",
        state_normalizer="mean_std",
        horizon=8,
        frame_gap=8,
        fps=10.0,
        cameras=("top", "wrist"),
        image_size=64,
        views=1,
        image_fit="square",
        lam_cameras=(),
        lam_image_size=64,
        action_dim_max=7,
        state_dim_max=9,
        embodiment="toy",
        slot=2,
        instructions=("öffne die Schublade",),
        actions=InOrder(),
    )


def test_data_card_survives_json_bit_for_bit():
    card = data_card()
    again = DataCard.from_dict(json.loads(json.dumps(card.to_dict())))
    assert again == card
    assert again.to_dict() == card.to_dict()
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.normalizer_of_actions().normalize(x), card.normalizer_of_actions().normalize(x))
    assert again.normalizer_of_states().mode == "mean_std"


def test_a_foreign_card_is_refused():
    data = data_card().to_dict()
    with pytest.raises(DataError, match="missing \\['horizon'\\]"):
        DataCard.from_dict({k: v for k, v in data.items() if k != "horizon"})
    with pytest.raises(DataError, match="colour"):
        DataCard.from_dict({**data, "colour": 1})
    with pytest.raises(DataError, match="expects the keys"):
        DataCard.from_dict([1])
    for other in ([1], {}, {"embodiments": [1]}, {"embodiments": {"other": data}}, data):
        with pytest.raises(DataError):
            Cards.from_dict(other)


def test_a_policy_of_several_robots_is_asked_which():
    one, other, video = (replace(data_card(), embodiment=name) for name in ("one", "other", "video"))
    nothing = replace(video.robot.action, names=(), low=(), high=())
    empty = {**video.statistics, "action": Statistics.of(np.zeros((3, 0)))}
    video = replace(video, robot=replace(video.robot, action=nothing), statistics=empty)
    assert Cards([one]).only() == Cards([one, video]).only() == one
    assert Cards([one, other]).only("other") == other
    assert Cards([video]).only() == video
    with pytest.raises(ConfigError, match=r"2 embodiments.*\['one', 'other'\]"):
        Cards([one, other, video]).only()
    with pytest.raises(ConfigError, match=r"no embodiment 'oen'.*'one'"):
        Cards([one, other]).only("oen")
    with pytest.raises(DataError, match="two data cards"):
        Cards([one, one])


def test_shift_moves_pixels_and_repeats_the_border():
    images = np.arange(2 * 5 * 5 * 1, dtype=np.uint8).reshape(2, 5, 5, 1)
    out = shift(images, np.array([[1, 0], [0, -2]]))
    np.testing.assert_array_equal(out[0, 1:], images[0, :-1])
    np.testing.assert_array_equal(out[0, 0], images[0, 0])
    np.testing.assert_array_equal(out[1, :, :3], images[1, :, 2:])
    np.testing.assert_array_equal(out[1, :, 4], images[1, :, 4])
    np.testing.assert_array_equal(shift(images, np.zeros((2, 2), int)), images)


def test_shifts_cover_the_range_and_follow_the_sample():
    index = np.arange(4000)
    shifts = random_shifts(seed=0, step=5, index=index, pixels=2)
    assert set(map(tuple, shifts.tolist())) == {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    np.testing.assert_array_equal(random_shifts(seed=0, step=5, index=index[7:9], pixels=2), shifts[7:9])
    assert (random_shifts(seed=0, step=6, index=index, pixels=2) != shifts).any()
