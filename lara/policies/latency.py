"""How long a chunk of actions takes, all policies in turns on one thread, so that what else the machine does hits all
of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lara.errors import DataError
from lara.policies.plan import Entry
from lara.serve.policy import TrainedPolicy, load_policy
from lara.store.records import read_json, write_json

WARM_UP = 3
PIXELS = 128  # of the images that a policy is given, as the house protocol renders them


def latencies(entries: Sequence[Entry], output: Path, *, chunks: int) -> dict[str, dict[str, float]]:
    """Entry's name -> {"median", "low", "high" (quartiles): milliseconds from an observation to a chunk in robot units,
    "parameters": of the policy}. Remembered in <output>/latency.json for these very checkpoints and commands."""
    import torch

    before = torch.get_num_threads()
    try:
        policies = {e.name: load_policy(checkpoint=str(e.checkpoint), threads=1) for e in entries}
        # a folder trained anew by another command may end at the same step
        known_by = {e.name: [policies[e.name].identity, e.train.command] for e in entries}
        asked = {"chunks": chunks, "policies": known_by}
        book = output / "latency.json"
        known = read_json(book, DataError) if book.exists() else {}
        if known.get("asked") != asked:
            known = {"asked": asked, "measured": _measure(policies, chunks)}
            write_json(book, known)
    finally:
        torch.set_num_threads(before)
    return known["measured"]


def _measure(policies: dict[str, TrainedPolicy], chunks: int) -> dict[str, dict[str, float]]:
    times: dict[str, list[float]] = {name: [] for name in policies}
    for turn in range(WARM_UP + chunks):
        for name, policy in policies.items():
            seen = _observation(policy, turn)
            started = time.perf_counter()
            policy.act(seen)
            if turn >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - started))
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
    return sum(p.numel() for p in policy.system.parameters())  # type: ignore[attr-defined]
