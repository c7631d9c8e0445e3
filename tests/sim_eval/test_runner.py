from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lara.errors import SpecError
from lara.evaluation.protocol import Protocol
from lara.serve.client import PolicyCard
from lara.specs import ObservationSpec
from sim_eval.runner import run_episode
from sim_eval.toy import ACTION, Reach, ReachPolicy

PROTOCOL = Protocol(
    benchmark="toy",
    tasks=("reach-red",),
    episodes=1,
    goal_seed=3,
    policy_seed=7,
    max_steps=10,
    settle_steps=0,
    success_mode="first",
    cameras=("top",),
    image_size=16,
    camera_positions={},
    render_profile="fast",
    execute=4,
    state=("x", "y"),
    instruction="own",
)


class Recorder:
    """A policy that returns numbered actions and remembers what it was shown."""

    def __init__(self, horizon, image_size=None, privileged=False):
        self.horizon, self.image_size, self.privileged = horizon, image_size, privileged
        self.seen, self.resets = [], 0

    def card(self):
        return PolicyCard(
            name="recorder",
            action=ACTION,
            observation=ObservationSpec(cameras=("top",), state=("x", "y")),
            horizon=self.horizon,
            privileged=self.privileged,
            image_size=self.image_size,
            identity="-",
        )

    def reset(self):
        self.resets += 1

    def act(self, observation):
        self.seen.append(observation)
        chunk = len(self.seen) * 100 + np.arange(self.horizon)
        return np.stack([chunk / 1e4, np.zeros(self.horizon)], axis=1).astype(np.float32)


class Tape(Reach):
    """The toy, remembering the executed actions and never succeeding by itself."""

    def __init__(self):
        super().__init__(goal_seed=3, cameras=("top",), image_size=16, camera_positions={}, render_profile="fast")
        self.executed, self.succeed_at = [], ()

    def step(self, action):
        result = super().step(action)
        self.executed.append(round(float(action[0]) * 1e4))
        return result._replace(success=len(self.executed) in self.succeed_at)


def run(world, policy, protocol=PROTOCOL, **more):
    return run_episode(
        benchmark=world, policy=policy, protocol=protocol, task="reach-red", episode=0, instruction="go", **more
    )


def test_the_replan_rule():
    for horizon, expected in (
        (8, [100, 101, 102, 103, 200, 201, 202, 203, 300, 301]),
        (3, [100, 101, 102, 200, 201, 202, 300, 301, 302, 400]),
        (1, [100 * k for k in range(1, 11)]),
    ):
        world, policy = Tape(), Recorder(horizon)
        record = run(world, policy)
        assert world.executed == expected
        assert (record.steps, record.success, record.replans) == (10, False, len(policy.seen))
        # Rendering happens when the policy is asked, and at no other time.
        assert world.renders == record.replans
        assert [o["key"] for o in policy.seen] == [PROTOCOL.noise_key("reach-red", 0, k) for k in range(record.replans)]
        assert policy.resets == 1


def test_success_first_stops_and_success_last_asks_at_the_end():
    world = Tape()
    world.succeed_at = (6,)
    record = run(world, Recorder(8))
    assert (record.success, record.steps, record.replans) == (True, 6, 2)
    for succeed_at, success in (((6,), False), ((10,), True)):
        world = Tape()
        world.succeed_at = succeed_at
        record = run(world, Recorder(8), replace(PROTOCOL, success_mode="last"))
        assert (record.success, record.steps) == (success, 10)


def test_settling_is_at_rest_and_not_counted():
    world = Tape()
    record = run(world, Recorder(8), replace(PROTOCOL, settle_steps=3))
    assert world.executed[:4] == [0, 0, 0, 100]
    assert record.steps == 10


def test_the_observation_holds_what_the_card_asks_for_and_no_more():
    policy = Recorder(4, image_size=8)
    run(Tape(), policy)
    assert set(policy.seen[0]) == {"images", "state", "instruction", "key"}
    assert policy.seen[0]["images"]["top"].shape == (8, 8, 3)
    assert policy.seen[0]["state"].dtype == np.float32
    policy = Recorder(4, privileged=True)
    run(Tape(), policy)
    assert policy.seen[0]["privileged"].shape == (4,)


def test_filming_changes_neither_inputs_nor_outcome():
    plain, filmed = Recorder(4), Recorder(4)
    first = run(Tape(), plain)
    world, steps = Tape(), []
    second = run(world, filmed, on_step=lambda step: steps.append((step, world.observe(("top",)))))
    assert [s for s, _ in steps] == list(range(11))
    assert replace(first, seconds=0) == replace(second, seconds=0)
    for a, b in zip(plain.seen, filmed.seen, strict=True):
        assert np.array_equal(a["images"]["top"], b["images"]["top"])
        assert np.array_equal(a["state"], b["state"])
        assert a["key"] == b["key"]


def test_noise_is_a_function_of_the_key():
    def steps(policy_seed):
        return [
            run_episode(
                benchmark=Reach(
                    goal_seed=3, cameras=("top",), image_size=4, camera_positions={}, render_profile="fast"
                ),
                policy=ReachPolicy(noise=1.0),
                protocol=replace(PROTOCOL, policy_seed=policy_seed, max_steps=60),
                task="reach-red",
                episode=episode,
                instruction="go",
            ).steps
            for episode in range(8)
        ]

    assert steps(0) == steps(0)
    assert steps(0) != steps(1)


def test_a_policy_that_says_nan_is_an_error_and_clipping_is_counted():
    policy = Recorder(4)
    policy.act = lambda observation: np.full((4, 2), np.nan, np.float32)
    with pytest.raises(SpecError, match="non-finite"):
        run(Tape(), policy)
    policy.act = lambda observation: np.full((6, 2), 2.0, np.float32)
    world = Tape()
    record = run(world, policy)
    assert set(world.executed) == {10000}
    assert record.clipped == 3 * 4 * 2  # three chunks, of which four rows each are meant for execution
