"""One episode, from reset to verdict: the only place that knows the replan rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lara.evaluation.protocol import Protocol
from lara.evaluation.records import EpisodeRecord
from lara.serve.client import PolicyCard, PolicyClient, check_actions, resize_area
from sim_eval.benchmark import Benchmark


def run_episode(
    *,
    benchmark: Benchmark,
    policy: PolicyClient,
    protocol: Protocol,
    task: str,
    episode: int,
    instruction: str,
    on_step: Callable[[int], None] | None = None,
) -> EpisodeRecord:
    """Rolls the policy out on (task, episode) and says what came of it; exceptions of either side pass through.

    The policy is asked at step 0 and again after `protocol.execute` executed steps (or after its whole chunk, if that
    is shorter). Frames are rendered only when it is asked. on_step(step) is called before every step and once at the
    end; it may render, which changes nothing for the policy.
    """
    started = time.perf_counter()
    card = policy.card()
    policy.reset()
    benchmark.reset(task, episode)
    for _ in range(protocol.settle_steps):
        benchmark.step(benchmark.rest_action())

    steps = replans = clipped = 0
    success = done = False
    while steps < protocol.max_steps and not done:
        observation = observe(benchmark, card, instruction, protocol.noise_key(task, episode, replans))
        chunk = np.asarray(policy.act(observation))
        replans += 1
        chunk, count = check_actions(chunk[: protocol.execute], benchmark.action)
        clipped += count
        for action in chunk[: protocol.max_steps - steps]:
            if on_step is not None:
                on_step(steps)
            success, done = benchmark.step(action)
            steps += 1
            done = done or (success and protocol.success_mode == "first")
            if done:
                break
    if on_step is not None:
        on_step(steps)
    return EpisodeRecord(
        task=task,
        episode=episode,
        success=bool(success),
        steps=steps,
        seconds=time.perf_counter() - started,
        error=None,
        clipped=clipped,
        replans=replans,
    )


def observe(benchmark: Benchmark, card: PolicyCard, instruction: str, key: tuple[int, ...]) -> dict[str, Any]:
    """The dict that `lara.serve.client` defines: what the card asks for and nothing else."""
    seen = benchmark.observe(card.observation.cameras)
    images = seen["images"]
    if card.image_size is not None:
        images = {camera: resize_area(image, card.image_size) for camera, image in images.items()}
    observation = {"images": images, "state": seen["state"], "instruction": instruction, "key": key}
    if card.privileged:
        observation["privileged"] = benchmark.privileged()
    return observation
