"""A robot's card from a dataset of any maker: what files say, what a person says, and what stays unknown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lara.data.actions.eef_pose import AbsolutePose
from lara.data.actions.relative import RelativeActions
from lara.data.actions.unified import Unified
from lara.data.robot import RobotCard, derived_card
from lara.data.sources.lerobot.read import open_dataset
from lara.errors import ConfigError, SpecError
from lara.specs import require_compatible
from tests.data import worlds
from tests.data.sources.lerobot import patches

SAID = {"name": "arm", "control": "absolute", "rotation": "none", "gripper": "close_positive"}


@pytest.fixture
def root(tmp_path):
    worlds.write(tmp_path / "set")
    (tmp_path / "set/meta/lara.json").unlink()
    return tmp_path / "set"


def name_actions(root, names) -> None:
    patches.info(root, lambda i: i["features"]["action"].update(names=names))


@pytest.mark.parametrize("stats", [True, False])
def test_everything_that_files_say_needs_nobody(root, stats):
    if not stats:
        (root / "meta/stats.json").write_text("{}")
    source = open_dataset(root)
    card, notes = derived_card(source)
    assert (card.action.names, card.observation.state) == (("a0", "a1", "a2"), ("s0", "s1"))
    assert (card.action.rate_hz, card.observation.cameras, card.name) == (worlds.FPS, worlds.CAMERAS, "toy")
    actions = source.all_arrays().actions
    np.testing.assert_allclose(card.action.low, actions.min(0))
    np.testing.assert_allclose(card.action.high, actions.max(0))
    assert {card.action.control, card.action.rotation, card.action.gripper} == {"unknown"}
    for key in ("control", "rotation", "gripper"):
        assert any(f"data.robot.{key}" in line for line in notes)
    assert RobotCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_a_person_says_the_rest(root):
    card, _ = derived_card(open_dataset(root), SAID)
    assert {key: getattr(card.action, key) for key in ("control", "rotation", "gripper")} == {
        key: SAID[key] for key in ("control", "rotation", "gripper")
    }
    assert card.name == "arm"
    with pytest.raises(ConfigError, match=r"no 'controll'\. Did you mean 'control'"):
        derived_card(open_dataset(root), {"controll": "delta"})
    with pytest.raises(SpecError, match="control is one of"):
        derived_card(open_dataset(root), {"control": "deltas"})
    assert derived_card(open_dataset(root), worlds.robot()) == (worlds.robot(), ())
    assert derived_card(open_dataset(root), worlds.robot().to_dict())[0] == worlds.robot()


def test_a_card_of_the_files_own_needs_nobody_and_yields_with_a_word(tmp_path):
    worlds.write(tmp_path / "set")
    source = open_dataset(tmp_path / "set")
    assert derived_card(source, {"control": "delta"}) == (worlds.robot(), ())
    card, notes = derived_card(source, {"control": "absolute"})
    assert card.action.control == "absolute"
    assert len(notes) == 1
    assert "instead of 'delta'" in notes[0]


@pytest.mark.parametrize(
    ("names", "control"),
    [
        (["delta_x", "delta_y", "gripper"], "delta"),
        ({"delta_x_ee": 0, "delta_y_ee": 1, "gripper": 2}, "delta"),
        ({"motors": ["shoulder.pos", "elbow.pos", "gripper.pos"]}, "absolute"),
        (["base.vel", "arm.vel", "hand.vel"], "velocity"),
        (["delta_x", "y", "gripper"], "unknown"),
        (["x", "y", "gripper"], "unknown"),
        (None, "unknown"),
    ],
)
def test_names_that_mean_something_are_believed(root, names, control):
    name_actions(root, names)
    assert derived_card(open_dataset(root))[0].action.control == control


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"axes": ["x", "y", "z"]}, ("x", "y", "z")),
        ({"z": 2, "x": 0, "y": 1}, ("x", "y", "z")),
        ([["a", "b"], ["c"]], ("a", "b", "c")),
        (["a", "a", "a_2"], ("a", "a_3", "a_2")),
        (["a", " ", None], ("action_0", "action_1", "action_2")),
        (["actions"], ("action_0", "action_1", "action_2")),
        (None, ("action_0", "action_1", "action_2")),
    ],
)
def test_every_number_has_a_name_of_its_own(root, names, expected):
    name_actions(root, names)
    source = open_dataset(root)
    assert source.action_names == expected
    derived_card(source)


def test_what_depends_on_the_unknown_asks_for_it(root):
    source = open_dataset(root)
    unknown = derived_card(source)[0]
    layouts = [
        lambda card: RelativeActions(state={"a0": "s0"}).pairing(card),
        lambda card: Unified(action={}, state={}).bind(card),
        lambda card: AbsolutePose(position=("a0", "a1", "a2"), rotation=()).bind(card),
    ]
    for bind in layouts:
        with pytest.raises(ConfigError, match=r"say it: data\.robot\.control=\.\.\. data\.robot\.rotation=\.\.\."):
            bind(unknown)
    layouts[0](derived_card(source, {**SAID, "gripper": "none"})[0])


def test_nothing_acts_on_a_body_whose_units_nobody_said(root):
    card = derived_card(open_dataset(root))[0]
    for body in (card, derived_card(open_dataset(root), SAID)[0]):
        with pytest.raises(SpecError, match=r"action\.control: the policy does not say it"):
            require_compatible(
                policy_action=card.action,
                body_action=body.action,
                policy_observation=card.observation,
                body_observation=body.observation,
            )
