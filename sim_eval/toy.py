"""A benchmark without a simulator: a point that must go to the disk of the named colour. Pure numpy, microseconds.

It exists so that everything around a benchmark (runner, shards, resume, collection, training on images) can be tested
in seconds. Three coloured disks and the white point are drawn, so the image says where to go and the words say to
which colour: a policy that ignores either one fails.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lara.errors import ConfigError, nearest
from lara.serve.client import PolicyCard
from lara.specs import ActionSpec, ObservationSpec
from sim_eval.benchmark import StepResult

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (60, 60, 230)}
TASKS = {"reach-red": "primary", "reach-green": "secondary", "reach-blue": "primary"}
ACTION = ActionSpec(
    names=("dx", "dy"),
    control="delta",
    rotation="none",
    gripper="none",
    low=(-1.0, -1.0),
    high=(1.0, 1.0),
    rate_hz=10.0,
)
STATE = ("x", "y")
SPEED = 0.1  # distance that an action of 1 moves the point, in a world of [-1, 1] x [-1, 1]
RADIUS = 0.12  # distance to the disk's centre that counts as success


class Reach:
    """A `Benchmark`. goal_seed and the episode decide the disks and the start; the world is [-1, 1] x [-1, 1]."""

    buildable: ClassVar[str] = "body"

    name = "toy"
    action = ACTION
    step_limit: int | None = None
    episode_limit: int | None = None

    def __init__(
        self,
        *,
        goal_seed: int,
        cameras: Sequence[str],
        image_size: int,
        camera_positions: Mapping[str, Sequence[float]],
        render_profile: str,
    ) -> None:
        if camera_positions or render_profile != "fast" or set(cameras) - {"top"}:
            raise ConfigError(
                "the toy benchmark has one camera, 'top', which cannot be moved, and the profile 'fast'; "
                f"got cameras {list(cameras)}, positions {dict(camera_positions)}, profile {render_profile!r}"
            )
        self.observation = ObservationSpec(cameras=tuple(cameras), state=STATE)
        self._goal_seed = goal_seed
        self._image_size = image_size
        self._task = ""
        self._point = np.zeros(2)
        self._disks = np.zeros((len(COLOURS), 2))
        self.renders = 0  # how many frames were drawn since construction

    def tasks(self) -> dict[str, str]:
        return dict(TASKS)

    def instruction(self, task: str) -> str:
        return f"go to the {task.removeprefix('reach-')} disk"

    def rest_action(self) -> np.ndarray:
        return np.zeros(2, np.float32)

    def versions(self) -> dict[str, str]:
        return {"toy": "1"}

    def reset(self, task: str, episode: int) -> None:
        if task not in TASKS:
            raise ConfigError(f"the toy benchmark has no task '{task}'. {nearest(task, TASKS)}")
        rng = np.random.default_rng([self._goal_seed, zlib.crc32(task.encode()), episode])
        self._task = task
        # One disk per third of the circle, so that no two overlap; the point starts near the middle.
        angles = rng.uniform(0, 2 * np.pi) + rng.permutation(3) * 2 * np.pi / 3 + rng.uniform(-0.4, 0.4, size=3)
        self._disks = rng.uniform(0.5, 0.8, size=(3, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._point = rng.uniform(-0.15, 0.15, size=2)

    def observe(self, cameras: Sequence[str]) -> dict[str, Any]:
        return {"images": {c: self._draw() for c in cameras}, "state": self._point.astype(np.float32)}

    def privileged(self) -> np.ndarray:
        """(4,): the point and the target."""
        return np.concatenate([self._point, self._target()])

    def step(self, action: np.ndarray) -> StepResult:
        self._point = np.clip(self._point + SPEED * np.asarray(action, np.float64), -1, 1)
        return StepResult(success=bool(np.linalg.norm(self._point - self._target()) < RADIUS), done=False)

    def close(self) -> None:
        pass

    def _target(self) -> np.ndarray:
        disk: np.ndarray = self._disks[list(TASKS).index(self._task)]
        return disk

    def _draw(self) -> np.ndarray:
        self.renders += 1
        n = self._image_size
        axis = (np.arange(n) + 0.5) / n * 2 - 1
        x, y = np.meshgrid(axis, -axis)
        image = np.full((n, n, 3), 30, np.uint8)
        for colour, (cx, cy) in zip(COLOURS.values(), self._disks, strict=True):
            image[(x - cx) ** 2 + (y - cy) ** 2 < 0.15**2] = colour
        px, py = self._point
        image[(x - px) ** 2 + (y - py) ** 2 < 0.1**2] = (255, 255, 255)
        return image


class ReachPolicy:
    """A privileged `PolicyClient`: straight to the target in chunks of `horizon`, plus noise drawn from the key alone.

    noise: standard deviation of the noise on each action; from about 2 on it fails often. instructions: what its card
    says that it was taught, as a trained policy's would; None as for any scripted expert.
    """

    buildable: ClassVar[str] = "body"

    def __init__(
        self,
        *,
        horizon: int = 4,
        noise: float = 0.0,
        identity: str = "scripted",
        instructions: Sequence[str] | None = None,
    ) -> None:
        self._horizon = horizon
        self._instructions = None if instructions is None else tuple(instructions)
        self._noise = noise
        self._identity = identity

    def card(self) -> PolicyCard:
        return PolicyCard(
            name="toy-reach",
            action=ACTION,
            observation=ObservationSpec(cameras=("top",), state=STATE),
            horizon=self._horizon,
            privileged=True,
            image_size=None,
            identity=f"{self._identity}, noise {self._noise}",
            instructions=self._instructions,
        )

    def reset(self) -> None:
        pass

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        point, target = observation["privileged"][:2], observation["privileged"][2:]
        rng = np.random.default_rng(observation["key"])
        actions = []
        for _ in range(self._horizon):
            action = np.clip((target - point) / SPEED, -1, 1) + rng.normal(scale=self._noise, size=2)
            point = point + SPEED * np.clip(action, -1, 1)
            actions.append(action)
        return np.asarray(actions, np.float32)


class ReachDemonstrator:
    """A `lara.data.collect.Demonstrator`: the scripted expert, pushed about, which sometimes gives up.

    noise: standard deviation of what is added to the executed actions. gives_up: fraction of attempts that fail.
    """

    buildable: ClassVar[str] = "body"

    def __init__(self, *, seed: int, image_size: int = 16, noise: float = 0.3, gives_up: float = 0.2) -> None:
        self._seed = seed
        self._noise = noise
        self._gives_up = gives_up
        self._world = Reach(
            goal_seed=seed, cameras=("top",), image_size=image_size, camera_positions={}, render_profile="fast"
        )
        self.name = "toy"
        self.action = ACTION
        self.observation = self._world.observation

    def tasks(self) -> tuple[str, ...]:
        return tuple(TASKS)

    def demonstrate(self, task: str, attempt: int, *, keep_failures: bool) -> dict[str, Any]:
        """See `lara.data.collect.Demonstrator`."""
        rng = np.random.default_rng([self._seed, zlib.crc32(task.encode()), attempt, 1])
        gives_up = rng.random() < self._gives_up
        self._world.reset(task, attempt)
        frames: list[np.ndarray] = []
        states: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        success = False
        while not success and len(labels) < (1 if gives_up else 60):
            point, target = self._world.privileged()[:2], self._world.privileged()[2:]
            seen = self._world.observe(("top",))
            label = np.clip((target - point) / SPEED, -1, 1)
            frames.append(seen["images"]["top"])
            states.append(seen["state"])
            labels.append(label)
            executed = np.clip(label + rng.normal(scale=self._noise, size=2), -1, 1)
            success = self._world.step(executed).success
        if not success and not keep_failures:
            return {"success": False}
        return {
            "success": success,
            "images": {"top": np.stack(frames)},
            "state": np.stack(states),
            "actions": np.asarray(labels, np.float32),
            "task": self._world.instruction(task),
            "info": {"task": task, "attempt": attempt, "success": success},
        }
