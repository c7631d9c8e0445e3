"""How long a policy takes to act. All policies take turns on one thread, so that whatever else the machine does hits
them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lara.serve.policy import TrainedPolicy, load_policy

WARM_UP = 3
PIXELS = 128  # of the images that a policy is given, as the house protocol renders them


def load(checkpoints: Mapping[str, Path]) -> dict[str, TrainedPolicy]:
    """The policies, by the names of their checkpoints, each told to act on one thread."""
    return {name: load_policy(checkpoint=str(path), threads=1) for name, path in checkpoints.items()}


def measure_latency(policies: Mapping[str, TrainedPolicy], *, chunks: int) -> dict[str, dict[str, float]]:
    """Times every policy on the same made-up observations.

    Args:
        policies: By name.
        chunks: How many chunks of actions are timed per policy, after a few that are not.

    Returns:
        Name -> "low", "median", "high" (quartiles, milliseconds from an observation to a chunk in robot units) and
        "parameters" (of the policy).
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in policies}
    try:
        for turn in range(WARM_UP + chunks):
            for name, policy in policies.items():
                seen = _observation(policy, turn)
                started = time.perf_counter()
                policy.act(seen)
                if turn >= WARM_UP:
                    times[name].append(1000 * (time.perf_counter() - started))
    finally:
        torch.set_num_threads(before)
    return {name: {**_quartiles(t), "parameters": _parameters(policies[name])} for name, t in times.items()}


def _observation(policy: TrainedPolicy, turn: int) -> dict[str, Any]:
    card = policy.card().observation
    pixels = np.random.default_rng(turn).integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8)
    return {
        "images": dict.fromkeys(card.cameras, pixels),
        "state": np.zeros(len(card.state), np.float32),
        "instruction": "open the drawer",
        "key": (0, 0, 0, turn),
    }


def _quartiles(times: Sequence[float]) -> dict[str, float]:
    if len(times) < 2:
        return dict.fromkeys(("low", "median", "high"), times[0])
    return dict(zip(("low", "median", "high"), statistics.quantiles(times, n=4), strict=True))


def _parameters(policy: TrainedPolicy) -> int:
    return sum(p.numel() for p in policy.system.parameters())
