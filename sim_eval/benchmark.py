"""The contract of a benchmark: a body in a simulator, with named tasks and numbered episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from lara.specs import ActionSpec, ObservationSpec


class StepResult(NamedTuple):
    """success: the goal holds now. done: the body cannot go on (its own time limit)."""

    success: bool
    done: bool


@runtime_checkable
class Benchmark(Protocol):
    """One simulator process' worth of a benchmark.

    Built from keyword arguments `goal_seed, cameras, image_size, camera_positions, render_profile`, which come from the
    evaluation protocol, so that what was hashed is what runs. (task, episode) decides everything that happens next,
    whatever ran before in this process: `reset` must restore all of it.

    name:             the name that protocols give.
    action:           the limits and units of `step`.
    observation:      the cameras and state names of `observe`.
    step_limit:       most steps (settling included) between two resets, or None.
    episode_limit:    most episodes per task that differ from each other, or None.
    tasks():          {task: tier} for all tasks, in the order of tables. One tier where there are no tiers.
    instruction():    the words for a task.
    rest_action():    (A,) float32: do nothing; used to settle.
    versions():       {package: version} of what decides physics and pixels.
    reset():          starts (task, episode). ConfigError for an unknown task or an episode over the limit.
    observe():        {"images": {camera: (h, h, 3) uint8 upright RGB}, "state": (S,) float32}; renders exactly the
                      cameras asked for, and changes nothing in the simulation.
    privileged():     float64 vector of simulator state, for scripted experts.
    step():           executes one (A,) action within the limits.
    close():          frees the simulator and its renderer; `reset` builds them again.
    """

    name: str
    action: ActionSpec
    observation: ObservationSpec
    step_limit: int | None
    episode_limit: int | None

    def tasks(self) -> dict[str, str]: ...

    def instruction(self, task: str) -> str: ...

    def rest_action(self) -> np.ndarray: ...

    def versions(self) -> dict[str, str]: ...

    def reset(self, task: str, episode: int) -> None: ...

    def observe(self, cameras: Sequence[str]) -> dict[str, Any]: ...

    def privileged(self) -> np.ndarray: ...

    def step(self, action: np.ndarray) -> StepResult: ...

    def close(self) -> None: ...
