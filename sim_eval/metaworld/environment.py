"""Meta-World as a benchmark. What is not obvious about it:

- `env.reset(seed=...)` ignores its seed. Goals come from `MT1(name, seed=S).train_tasks` (50 per seed) and
  `env.set_task`, so that episode i of a goal seed is the same scene everywhere.
- The first 4 numbers of its observation (hand x, y, z in metres; gripper opening in [0, 1]) are proprioception; the
  rest holds the poses of objects and the goal and is privileged. At reset the 4 numbers are the same for every goal:
  where the object is, only the image says.
- The cameras corner, corner2, corner3 and corner4 are mounted upside down: their frames are turned by 180 degrees.
- The shadow map and multisampling take 80 % of the rendering time; they are sized when a renderer is made, so the
  profile must be applied before. Reflections are switched off with them ("fast"); "reference" touches nothing.
- OSMesa contexts clash: a renderer must be closed before the next one is made in a process, or frames come out empty.
- An action of 1 moves the target of the hand by 1 cm; the arm follows with a lag. A positive gripper number closes.
- 500 steps after a reset the simulator refuses to go on.
- The backend is chosen by MUJOCO_GL when mujoco is first imported; unset means osmesa here, which needs no GPU.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lara.errors import ConfigError, missing_extra, nearest
from lara.specs import ActionSpec, ObservationSpec
from sim_eval.benchmark import StepResult
from sim_eval.metaworld.rendering import no_rendering, require_rendering
from sim_eval.metaworld.tasks import EASY_TO_HARD, INSTRUCTIONS, NUMBER, TIERS

STATE = ("hand_x", "hand_y", "hand_z", "gripper_opening")
ACTION = ActionSpec(
    names=("dx", "dy", "dz", "gripper"),
    control="delta",
    rotation="none",
    gripper="close_positive",
    low=(-1.0,) * 4,
    high=(1.0,) * 4,
    rate_hz=80.0,
)
# Every camera of the scene, and whether its frames come upside down.
CAMERAS = {
    "topview": False,
    "corner": True,
    "corner2": True,
    "corner3": True,
    "corner4": True,
    "behindGripper": False,
    "gripperPOV": False,
}
GOALS_PER_SEED = 50


class MetaWorld:
    """A `Benchmark`; one task's simulator is alive at a time, built on the first reset of that task (about 1 s).

    goal_seed:         seed of the 50 goals of each task.
    cameras:           names among CAMERAS. image_size: side of the square frames in pixels.
    camera_positions:  {camera: (x, y, z)} in metres, instead of the camera's own place.
    render_profile:    "fast" or "reference", see above.
    """

    buildable: ClassVar[str] = "body"

    name = "metaworld"
    action = ACTION
    step_limit = 500
    episode_limit = GOALS_PER_SEED

    def __init__(
        self,
        *,
        goal_seed: int,
        cameras: Sequence[str],
        image_size: int,
        camera_positions: Mapping[str, Sequence[float]],
        render_profile: str,
    ) -> None:
        for camera in [*cameras, *camera_positions]:
            if camera not in CAMERAS:
                raise ConfigError(f"Meta-World has no camera '{camera}'. {nearest(camera, CAMERAS)}")
        if render_profile not in ("fast", "reference"):
            raise ConfigError(f"render_profile must be 'fast' or 'reference', got {render_profile!r}")
        self.observation = ObservationSpec(cameras=tuple(cameras), state=STATE)
        self._goal_seed = goal_seed
        self._image_size = image_size
        self._camera_positions = {c: tuple(p) for c, p in camera_positions.items()}
        self._fast = render_profile == "fast"
        self._task: str | None = None
        self._env: Any = None
        self._goals: Any = None
        self._renderer: Any = None
        self._last: np.ndarray | None = None

    def tasks(self) -> dict[str, str]:
        return {task: tier for tier in EASY_TO_HARD for task, of in TIERS.items() if of == tier}

    def instruction(self, task: str) -> str:
        return INSTRUCTIONS[task]

    def rest_action(self) -> np.ndarray:
        return np.zeros(ACTION.dim, np.float32)

    def versions(self) -> dict[str, str]:
        _import_metaworld()
        return {p: importlib.metadata.version(p) for p in ("metaworld", "mujoco", "numpy")}

    def reset(self, task: str, episode: int) -> None:
        if task not in TIERS:
            raise ConfigError(f"Meta-World has no task '{task}'. {nearest(task, TIERS)}")
        if not 0 <= episode < GOALS_PER_SEED:
            raise ConfigError(f"a goal seed gives episodes 0 to {GOALS_PER_SEED - 1} of each task, got {episode}")
        if task != self._task:
            self._build(task)
        self._env.set_task(self._goals[episode])
        self._last = self._env.reset()[0]

    def observe(self, cameras: Sequence[str]) -> dict[str, Any]:
        return {
            "images": {camera: self._render(camera) for camera in cameras},
            "state": self._numbers()[: len(STATE)].astype(np.float32),
        }

    def privileged(self) -> np.ndarray:
        """(40,): the task's number, then all 39 numbers of Meta-World's observation, goal included."""
        assert self._task is not None
        return np.concatenate([[float(NUMBER[self._task])], self._numbers()])

    def step(self, action: np.ndarray) -> StepResult:
        self._numbers()
        self._last, _, _, truncated, info = self._env.step(np.asarray(action, np.float32))
        return StepResult(success=bool(info["success"]), done=bool(truncated))

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
        if self._env is not None:
            self._env.close()
        self._renderer = self._env = self._goals = self._task = self._last = None

    def _build(self, task: str) -> None:
        metaworld = _import_metaworld()
        self.close()
        benchmark = metaworld.MT1(task, seed=self._goal_seed)
        self._env = benchmark.train_classes[task]()
        self._goals = benchmark.train_tasks
        for camera, place in self._camera_positions.items():
            self._env.model.cam_pos[self._env.model.camera(camera).id] = place
        if self._fast:
            self._env.model.vis.quality.shadowsize = 0
            self._env.model.vis.quality.offsamples = 0
        # gymnasium's default off-screen buffer is 640 x 480; larger frames need a larger one.
        visual = self._env.model.vis.global_
        visual.offwidth = max(visual.offwidth, self._image_size)
        visual.offheight = max(visual.offheight, self._image_size)
        self._task = task

    def _render(self, camera: str) -> np.ndarray:
        import mujoco

        if camera not in self.observation.cameras:
            raise ConfigError(f"camera '{camera}' is not one of the protocol's cameras {self.observation.cameras}")
        if self._renderer is None:
            require_rendering()
            self._renderer = mujoco.Renderer(self._env.model, self._image_size, self._image_size)
            if self._fast:
                self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._renderer.update_scene(self._env.data, camera)
        frame = self._renderer.render()
        return np.ascontiguousarray(frame[::-1, ::-1] if CAMERAS[camera] else frame)

    def _numbers(self) -> np.ndarray:
        if self._last is None:
            raise ConfigError("Meta-World was asked for an observation or a step before reset(task, episode)")
        return self._last


def _import_metaworld() -> Any:
    try:
        import metaworld
    except ImportError as error:
        raise missing_extra(error.name or "metaworld", "sim", "the Meta-World benchmark") from error
    except (AttributeError, OSError, RuntimeError) as error:  # mujoco looks for the graphics library while it imports
        raise no_rendering(error) from error
    return metaworld
