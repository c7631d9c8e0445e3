"""Relative actions: off changes nothing; on, training subtracts the state at t and serving adds its own again."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lara.launch
from lara.config.build import build
from lara.data.actions.normalize import Normalizer, Statistics
from lara.data.actions.relative import RelativeActions
from lara.data.actions.representation import representation_from_dict
from lara.data.actions.unified import Unified
from lara.data.card import Cards, DataCard
from lara.data.dataset import Dataset
from lara.errors import ConfigError, DataError
from lara.export.statistics import both
from lara.serve.policy import TrainedPolicy
from lara.types import ActionChunk
from tests.data import flat, worlds

LENGTHS = (5, 9, 7, 6, 8, 4)
H, MODES = 4, ["identity", "min_max", "mean_std", "quantile"]
PAIRS = RelativeActions(state={"a0": "s1", "a2": "s0"})
STATE_OF = {0: 1, 2: 0}  # the same by number


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("actions") / "set"
    return root, worlds.write(root, LENGTHS)


def _robot(**changes):
    card = worlds.robot()
    return dataclasses.replace(card, action=dataclasses.replace(card.action, **{"control": "absolute", **changes}))


def _settings(made, **changes):
    settings = {
        "root": made[0],
        "horizon": H,
        "cameras": [],
        "image_size": 16,
        "action_dim_max": 5,
        "state_dim_max": 4,
        "embodiment": "toy",
        "validation_fraction": 0.25,
        "cache": False,
        "robot": _robot(),
        "actions": PAIRS,
    }
    return {**settings, **changes}


def _data(made, **changes) -> Dataset:
    return flat.dataset(**_settings(made, **changes))


def _differences(made, episodes) -> list[list[np.ndarray]]:
    """By step: a_{t+h} of every t that has it, less the state at t where paired. Steps past an end do not exist."""
    out: list[list[np.ndarray]] = [[] for _ in range(H)]
    for k in episodes:
        one = made[1][k]
        for t in range(LENGTHS[k]):
            for h in range(min(H, LENGTHS[k] - t)):
                row = one.actions[t + h].copy()
                for a, s in STATE_OF.items():
                    row[a] -= one.state[t, s]
                out[h].append(row)
    return out


@pytest.mark.parametrize("mode", MODES)
def test_off_is_bit_for_bit_the_one_map_of_the_training_actions(made, mode):
    off = _data(made, actions=None, action_normalizer=mode)
    batch = off.batch(np.arange(sum(LENGTHS)))
    train = np.concatenate([made[1][k].actions for k in off.training_episodes])
    assert off.card().statistics["action"] == Statistics.of(train)
    plain = Normalizer(Statistics.of(train), mode)
    expected = np.zeros((sum(LENGTHS), H, 5), np.float32)
    starts = np.cumsum((0, *LENGTHS))
    for k, length in enumerate(LENGTHS):
        for t in range(length):
            chunk = made[1][k].actions[t : t + H]
            expected[starts[k] + t, : len(chunk), :3] = plain.normalize(chunk)
    assert torch.equal(batch.actions_BHA, torch.from_numpy(expected))


def test_a_relative_chunk_is_the_distance_from_the_state_at_its_start(made):
    on, off = (_data(made, actions=r, action_normalizer="identity") for r in (PAIRS, None))
    a, b = (data.batch(np.arange(sum(LENGTHS))) for data in (on, off))
    states = torch.from_numpy(np.concatenate([e.state for e in made[1]]))
    expected = b.actions_BHA.clone()
    for action, state in STATE_OF.items():
        expected[..., action] -= states[:, state, None]
    expected[~b.action_mask_BHA] = 0
    assert torch.equal(a.actions_BHA, expected)
    assert torch.equal(a.actions_BHA[..., 1], b.actions_BHA[..., 1])  # not named: absolute
    assert torch.equal(a.action_mask_BHA, b.action_mask_BHA)
    assert torch.equal(a.observation.state_BS, b.observation.state_BS)
    assert not torch.equal(a.actions_BHA, b.actions_BHA)


def test_statistics_are_of_each_step_of_the_training_chunks_alone(made):
    data = _data(made, action_normalizer="mean_std")
    found = data.card().statistics["action"]
    steps = [np.stack(rows).astype(np.float64) for rows in _differences(made, data.training_episodes)]
    for name in ("min", "max", "mean", "std"):
        per_step = np.array(getattr(found, name)).reshape(H, 3)
        for h, rows in enumerate(steps):
            np.testing.assert_allclose(per_step[h, [0, 2]], getattr(np, name)(rows, axis=0)[[0, 2]], atol=1e-6)
        together = getattr(np, name)(np.concatenate(steps), axis=0)[1]
        np.testing.assert_allclose(per_step[:, 1], together, atol=1e-6)  # absolute: the same at every step
    batch = data.batch(data.training_samples)
    for h in range(H):
        real = batch.actions_BHA[batch.action_mask_BHA[:, h, 0], h][:, [0, 2]].double()
        torch.testing.assert_close(real.mean(0), torch.zeros(2).double(), atol=1e-5, rtol=0)
        torch.testing.assert_close(real.std(0, correction=0), torch.ones(2).double(), atol=1e-5, rtol=0)


class Echo(torch.nn.Module):
    """Answers with the chunk it was given."""

    def __init__(self, chunk):
        super().__init__()
        self.chunk = torch.nn.Parameter(chunk)

    def act(self, observation, *, steps, generator=None):
        return ActionChunk(actions_BHA=self.chunk.detach())


@pytest.mark.parametrize("mode", MODES)
def test_serving_undoes_what_the_batch_did_with_the_observations_own_state(made, mode):
    data = _data(made, action_normalizer=mode, state_normalizer=mode)
    card = DataCard.from_dict(json.loads(json.dumps(data.card().to_dict())))
    assert card == data.card()
    starts = np.cumsum((0, *LENGTHS))
    for k, t in ((0, 0), (1, 5), (4, 2), (4, 6)):  # the last chunk has two steps
        policy = TrainedPolicy(Echo(data.batch([starts[k] + t]).actions_BHA), card, steps=1, identity="x")
        one, count = made[1][k], min(H, LENGTHS[k] - t)

        def act(state, policy=policy):
            return policy.act({"images": {}, "state": state, "instruction": "x", "key": (0,)})

        out = act(one.state[t])
        assert out.shape == (H, 3)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out[:count], one.actions[t : t + count], atol=2e-6)
        # from another state the same chunk leads elsewhere, by exactly the difference
        np.testing.assert_allclose(act(one.state[t] + np.float32([10, 20])) - out, [[20, 0, 10]] * H, atol=1e-5)
    assert policy.card().action.control == "absolute"


def test_many_chunks_come_back_through_the_card(made):
    data = _data(made)
    batch = data.batch(np.arange(sum(LENGTHS)))
    states = np.concatenate([e.state for e in made[1]])
    found = data.card().robot_actions(batch.actions_BHA.numpy(), states)
    truth = _data(made, actions=None, action_normalizer="identity").batch(np.arange(sum(LENGTHS))).actions_BHA.numpy()
    real = batch.action_mask_BHA[..., 0].numpy()
    np.testing.assert_allclose(found[real], truth[real][:, :3], atol=2e-6)


def test_statistics_of_an_earlier_run_are_given_on(made):
    first = _data(made)
    few = {"validation_fraction": 0.5, "max_episodes_per_task": 1}
    own = _data(made, **few)
    index = np.arange(sum(LENGTHS))
    for given in (first.card().statistics, first.card().to_dict()["statistics"]):
        second = _data(made, **few, statistics=given)
        assert second.card().statistics == first.card().statistics
        assert torch.equal(second.batch(index).actions_BHA, first.batch(index).actions_BHA)
    assert not torch.equal(own.batch(index).actions_BHA, first.batch(index).actions_BHA)
    with pytest.raises(ConfigError, match="describe 12 action dimensions, the dataset has 9"):
        _data(made, horizon=3, statistics=first.card().statistics).prepare()
    with pytest.raises(ConfigError, match="describe 3 action dimensions, the dataset has 12"):
        _data(made, statistics=_data(made, actions=None).card().statistics).prepare()


def test_a_run_inherits_only_from_one_with_the_same_pairs(made, monkeypatch):
    card = _data(made).card()
    monkeypatch.setattr(lara.launch, "read_checkpoint", lambda path: SimpleNamespace(card=Cards([card]).to_dict()))
    pairs = {"_target_": "lara.data.actions.relative.RelativeActions", "state": dict(PAIRS.state)}
    data = flat.config(**_settings(made, actions=pairs, robot=_robot().to_dict(), root=str(made[0])))
    assert lara.launch.build_data({"inherit": "run", "data": data}).card() == card
    for other in (None, {**pairs, "state": {"a0": "s1"}}):
        with pytest.raises(ConfigError, match=r"data\.actions="):
            lara.launch.build_data({"inherit": "run", "data": {**data, "actions": other}})


def test_what_cannot_be_said_without_the_state_is_refused(made):
    data = _data(made)
    card = data.card()
    with pytest.raises(DataError, match="chunk_normalizer"):
        card.normalizer_of_actions()
    with pytest.raises(ConfigError, match="to=native"):
        both(card)
    with pytest.raises(DataError, match="statistics of 12 action"):
        dataclasses.replace(card, statistics=_data(made, actions=None).card().statistics)
    longest = max(LENGTHS[k] for k in data.training_episodes)
    with pytest.raises(DataError, match=f"no chunk has a real step {longest} of 12"):
        _data(made, horizon=12).prepare()


def _named(**state):
    return RelativeActions(state=state)


LAYOUT = Unified(action={"a0": "right_x", "a1": "right_y", "a2": "right_z"}, state={"s0": "right_x", "s1": "right_y"})
WRONG = {
    "delta control": ({"robot": _robot(control="delta")}, "control=delta"),
    "velocity control": ({"robot": _robot(control="velocity")}, "control=velocity"),
    "actions": ({"actions": LAYOUT}, "changes"),
    "no such action": ({"actions": _named(b0="s0")}, "no action 'b0'"),
    "no such state": ({"actions": _named(a0="t0")}, "no state 't0'"),
    "a gripper": (
        {"robot": _robot(gripper="open_positive"), "actions": _named(a0="s0", a1="s1", a2="s1")},
        "at least 1",
    ),
    "a rotation": ({"robot": _robot(rotation="euler_xyz"), "actions": _named(a0="s0")}, "at least 3"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_settings_without_sense_are_refused(made, changes, message):
    with pytest.raises(ConfigError, match=message):
        _data(made, **changes)


def test_pairs_come_from_a_configuration_and_name_something():
    pairs = {"a0": "s1", "a2": "s0"}
    assert build({"_target_": "lara.data.actions.relative.RelativeActions", "state": pairs}, "data") == PAIRS
    assert representation_from_dict(PAIRS.to_dict()) == PAIRS
    with pytest.raises(ConfigError, match="names no action"):
        RelativeActions(state={})
