"""Demonstrations of the scripted experts, with disturbances that they recover from.

An expert alone never shows how to come back from a mistake, and a policy trained on it drifts. So the hand is pushed:
at each step outside a burst one starts with probability `burst_probability` (4 to 10 steps in one random direction of
length `burst_size`), and Gaussian noise of `noise_std` is added to x, y, z at every step; what is executed is clipped
to the limits. What is RECORDED is the expert's clean action at the state that was visited.

Rendering is 30 times the cost of physics, so an attempt is first run blind and then repeated with frames if it is
wanted: the simulator is deterministic, and a failure costs nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lara.errors import DataError
from sim_eval.metaworld.environment import ACTION, GOALS_PER_SEED, MetaWorld
from sim_eval.metaworld.expert import Experts


class MetaWorldDemonstrator:
    """A `lara.data.collect.Demonstrator`. Attempt k of a task is a pure function of (arguments, task, k).

    seed:         decides goals and disturbances. Goals come from 50-goal blocks whose seeds are hashes of
                  (seed, k // 50), so they are disjoint from those of any small evaluation goal seed.
    max_steps:    an attempt that has not succeeded by then has failed.
    past_success: steps recorded after the first success, so that a policy learns to stay there.
    noise_std, burst_probability, burst_size: see above; 0, 0, anything for the clean expert.
    """

    buildable: ClassVar[str] = "body"

    def __init__(
        self,
        *,
        seed: int,
        cameras: Sequence[str],
        image_size: int,
        camera_positions: Mapping[str, Sequence[float]],
        render_profile: str,
        max_steps: int = 200,
        past_success: int = 8,
        noise_std: float = 0.1,
        burst_probability: float = 0.06,
        burst_size: float = 1.5,
    ) -> None:
        self._seed = seed
        self._scene: dict[str, Any] = {
            "cameras": tuple(cameras),
            "image_size": image_size,
            "camera_positions": dict(camera_positions),
            "render_profile": render_profile,
        }
        self._max_steps = max_steps
        self._past_success = past_success
        self._noise_std = noise_std
        self._burst_probability = burst_probability
        self._burst_size = burst_size
        self._experts = Experts()
        self._block = -1
        self._world = self._world_of(0)
        self.name = "metaworld"
        self.action = self._world.action
        self.observation = self._world.observation

    def tasks(self) -> tuple[str, ...]:
        return tuple(self._world.tasks())

    def demonstrate(self, task: str, attempt: int, *, keep_failures: bool) -> dict[str, Any]:
        """{"success", and if it is to be kept: "images" {camera: (T, h, h, 3) uint8}, "state" (T, 4) float32,
        "actions" (T, 4) float32, "task" the instruction, "info"}. Frame and state t are what the expert saw at t.
        """
        world = self._world_of(attempt // GOALS_PER_SEED)
        labels, executed, success = self._rehearse(world, task, attempt)
        if not success and not keep_failures:
            return {"success": False}
        images, state, again = self._film(world, task, attempt, executed)
        if again != success:
            raise DataError(f"{task}, attempt {attempt}: the simulator gave two outcomes for the same actions")
        return {
            "success": success,
            "images": images,
            "state": state,
            "actions": labels,
            "task": world.instruction(task),
            "info": {"task": task, "attempt": attempt, "success": success},
        }

    def _world_of(self, block: int) -> MetaWorld:
        if block != self._block:
            if self._block >= 0:
                self._world.close()
            goal_seed = int(np.random.SeedSequence([self._seed, block]).generate_state(1)[0])
            self._world = MetaWorld(goal_seed=goal_seed, **self._scene)
            self._block = block
        return self._world

    def _rehearse(self, world: MetaWorld, task: str, attempt: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Labels (T, 4), executed actions (T, 4), success."""
        rng = np.random.default_rng([self._seed, zlib.crc32(task.encode()), attempt])
        world.reset(task, attempt % GOALS_PER_SEED)
        self._experts.reset()
        labels: list[np.ndarray] = []
        executed: list[np.ndarray] = []
        push, push_steps = np.zeros(3), 0
        success_at: int | None = None
        while success_at is None or len(labels) < success_at + self._past_success:
            if success_at is None and len(labels) == self._max_steps:
                break
            clean = self._experts.action(world.privileged())
            if push_steps == 0 and rng.random() < self._burst_probability:
                direction = rng.normal(size=3)
                push = self._burst_size * direction / np.linalg.norm(direction)
                push_steps = int(rng.integers(4, 11))
            noise = rng.normal(scale=self._noise_std, size=3)
            if push_steps > 0:
                noise, push_steps = noise + push, push_steps - 1
            action = np.clip(clean + np.append(noise, 0.0), ACTION.low, ACTION.high).astype(np.float32)
            labels.append(clean)
            executed.append(action)
            success, done = world.step(action)
            if success and success_at is None:
                success_at = len(labels)
            if done:
                break
        return np.stack(labels), np.stack(executed), success_at is not None

    def _film(
        self, world: MetaWorld, task: str, attempt: int, executed: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, bool]:
        world.reset(task, attempt % GOALS_PER_SEED)
        seen, success = [], False
        for action in executed:
            seen.append(world.observe(world.observation.cameras))
            success = world.step(action).success or success
        images = {c: np.stack([s["images"][c] for s in seen]) for c in world.observation.cameras}
        return images, np.stack([s["state"] for s in seen]), success
