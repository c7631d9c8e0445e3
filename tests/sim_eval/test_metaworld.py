"""The real simulator, at 64 px and with few episodes."""

from __future__ import annotations

import numpy as np
import pytest

from lara.config.build import build
from lara.config.compose import config_folder
from lara.errors import ConfigError, MissingExtraError
from lara.evaluation.protocol import Protocol, spoken_instructions
from sim_eval.benchmark import Benchmark
from sim_eval.metaworld.demonstrator import MetaWorldDemonstrator
from sim_eval.metaworld.environment import MetaWorld
from sim_eval.metaworld.expert import ExpertPolicy, Experts
from sim_eval.metaworld.rendering import require_rendering
from sim_eval.metaworld.tasks import INSTRUCTIONS, TIERS
from sim_eval.runner import run_episode

pytest.importorskip("OpenGL")
try:
    require_rendering()
except MissingExtraError as error:
    pytest.skip(str(error), allow_module_level=True)
pytestmark = pytest.mark.sim

SCENE = {
    "cameras": ("corner2",),
    "image_size": 64,
    "camera_positions": {"corner2": (0.75, 0.075, 0.7)},
    "render_profile": "fast",
}


@pytest.fixture
def world():
    world = MetaWorld(goal_seed=1000, **SCENE)
    yield world
    world.close()


def frame(world):
    return world.observe(("corner2",))["images"]["corner2"]


def test_every_task_has_a_tier_words_an_expert_and_a_simulator():
    import metaworld
    from metaworld.policies import ENV_POLICY_MAP

    assert set(TIERS) == set(INSTRUCTIONS) == set(metaworld.env_dict.ALL_V3_ENVIRONMENTS) == set(ENV_POLICY_MAP)
    assert [list(TIERS.values()).count(t) for t in ("easy", "medium", "hard", "very_hard")] == [28, 11, 6, 5]
    assert len(set(INSTRUCTIONS.values())) == 49


def test_experts_solve_their_tasks_through_the_client_path():
    import yaml

    tasks = ("button-press-topdown-v3", "drawer-open-v3", "window-close-v3", "door-open-v3")
    protocol = build(yaml.safe_load((config_folder() / "protocol" / "metaworld_small.yaml").read_text()), "run")
    world = MetaWorld(
        goal_seed=protocol.goal_seed,
        cameras=protocol.cameras,
        image_size=protocol.image_size,
        camera_positions=dict(protocol.camera_positions),
        render_profile=protocol.render_profile,
    )
    assert isinstance(world, Benchmark)
    records = [
        run_episode(
            benchmark=world, policy=ExpertPolicy(), protocol=protocol, task=task, episode=episode, instruction="-"
        )
        for task in tasks
        for episode in range(5)
    ]
    world.close()
    assert sum(bool(r.success) for r in records) >= 0.95 * len(records)
    assert all(r.clipped == 0 and 10 < r.steps < 200 and r.replans == r.steps for r in records)


@pytest.mark.parametrize("preset", ["metaworld_small", "mt50_alam", "mt50_evo1", "mt50_lerobot"])
def test_presets_fit_the_benchmark(preset):
    import yaml

    protocol = build(yaml.safe_load((config_folder() / "protocol" / f"{preset}.yaml").read_text()), "run")
    assert isinstance(protocol, Protocol)
    assert protocol.settle_steps + protocol.max_steps <= MetaWorld.step_limit
    if preset == "metaworld_small":  # the policy decides
        assert protocol.tasks is None
        return
    assert set(protocol.tasks) == set(TIERS)
    assert spoken_instructions(protocol, INSTRUCTIONS).keys() == set(protocol.tasks)


def test_the_state_is_proprioception_only(world):
    states, privileged = [], []
    for episode in range(3):
        world.reset("door-open-v3", episode)
        states.append(world.observe(())["state"])
        privileged.append(world.privileged())
    assert world.observe(()).keys() == {"images", "state"}
    assert all(s.shape == (4,) and s.dtype == np.float32 for s in states)
    # Goals differ, the state does not: nothing about the object leaks into it.
    assert np.array_equal(states[0], states[1])
    assert np.array_equal(states[0], states[2])
    assert not np.array_equal(privileged[0], privileged[1])
    assert all(p.shape == (40,) for p in privileged)


def test_frames_are_upright_and_not_mirrored(world):
    world.reset("door-open-v3", 1)
    before = frame(world)
    assert before.shape == (64, 64, 3)
    assert before.dtype == np.uint8
    assert before.std() > 20

    def centre_of(mask):
        assert mask.any()
        return np.argwhere(mask).mean(axis=0)

    # The goal marker is green; it must be where a pinhole camera, turned by 180 degrees, sees it.
    env = world._env
    camera = env.data.camera("corner2")
    place = camera.xmat.reshape(3, 3).T @ (env.data.site("goal").xpos - camera.xpos)
    focal = 32 / np.tan(np.deg2rad(env.model.camera("corner2").fovy[0]) / 2)
    column, row = 32 + focal * place[0] / -place[2], 32 - focal * place[1] / -place[2]
    green = (before[..., 1] > 120) & (before[..., 0] < 90) & (before[..., 2] < 90)
    assert np.allclose(centre_of(green) + 0.5, (64 - row, 64 - column), atol=1.5)

    # A hand that goes up in the world goes up in the picture.
    def arm(image):
        return centre_of((image[..., 0] > 90) & (image[..., 1] < 50) & (image[..., 2] < 50))

    for _ in range(40):
        world.step(np.array([0, 0, 1, 0], np.float32))
    assert arm(frame(world))[0] < arm(before)[0] - 1


def test_an_episode_does_not_depend_on_what_ran_before(world):
    def roll(world, task, episode, steps=25):
        world.reset(task, episode)
        experts, seen = Experts(), []
        for step in range(steps):
            if step % 8 == 0:
                seen.append(frame(world))
            world.step(experts.action(world.privileged()))
        return np.stack(seen), world.privileged()

    wanted = roll(world, "drawer-open-v3", 2)
    roll(world, "drawer-open-v3", 7, steps=60)
    again = roll(world, "drawer-open-v3", 2)
    roll(world, "push-v3", 2)
    other = MetaWorld(goal_seed=1000, **SCENE)
    world.close()  # one renderer at a time
    fresh = roll(other, "drawer-open-v3", 2)
    different = roll(other, "drawer-open-v3", 3)
    other.close()
    for frames, numbers in (again, fresh):
        assert np.array_equal(frames, wanted[0])
        assert np.array_equal(numbers, wanted[1])
    assert not np.array_equal(different[0], wanted[0])


def test_wrong_names_get_the_nearest_right_one(world):
    with pytest.raises(ConfigError, match="door-open-v3"):
        world.reset("door-open", 0)
    with pytest.raises(ConfigError, match="0 to 49"):
        world.reset("door-open-v3", 50)
    with pytest.raises(ConfigError, match="corner2"):
        MetaWorld(goal_seed=0, **{**SCENE, "cameras": ("corner_2",)})


def test_demonstrations_are_disturbed_and_labelled_by_the_clean_expert():
    demonstrator = MetaWorldDemonstrator(seed=5, **SCENE)
    made = next(
        m
        for m in (demonstrator.demonstrate("window-close-v3", k, keep_failures=False) for k in range(5))
        if m["success"]
    )
    attempt = made["info"]["attempt"]
    length = len(made["actions"])
    assert made["images"]["corner2"].shape == (length, 64, 64, 3)
    assert made["state"].shape == made["actions"].shape == (length, 4)
    assert np.abs(made["actions"]).max() <= 1
    labels, executed, success = demonstrator._rehearse(demonstrator._world_of(0), "window-close-v3", attempt)
    assert success
    assert np.array_equal(labels, made["actions"])
    # What was executed, replayed, visits the recorded states, where the expert says the recorded actions; the episode
    # goes on for 8 steps after the first success.
    world, experts = demonstrator._world_of(0), Experts()
    world.reset("window-close-v3", attempt)
    successes = []
    for t in range(length):
        assert np.array_equal(world.observe(())["state"], made["state"][t])
        assert np.array_equal(experts.action(world.privileged()), made["actions"][t])
        successes.append(world.step(executed[t]).success)
    assert successes.index(True) == length - 9
    assert np.abs(executed).max() <= 1
    assert (np.abs(executed - labels)[:, :3].max(axis=1) > 0.5).mean() > 0.05  # bursts
    assert np.array_equal(executed[:, 3], labels[:, 3])  # the gripper is left alone
    assert (
        demonstrator.demonstrate("window-close-v3", attempt + 1, keep_failures=True)["info"]["attempt"] == attempt + 1
    )
    world.close()
