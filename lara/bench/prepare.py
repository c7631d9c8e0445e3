"""What getting ready for training costs by the number of episodes, step by step (`lara bench prepare`)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from lara.bench.many_episodes import ACTION, STATE, write_many
from lara.bench.measure import machine
from lara.data.actions.chunks import fit
from lara.data.dataset import Dataset
from lara.data.sources.auto import AnyFormat
from lara.data.sources.fingerprints import fingerprints
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Source
from lara.data.sources.validate import validate
from lara.data.split import split_episodes

WHOLE = "Dataset, whole"
STEPS = ("open", "validate", "numbers", "fingerprints and split", "statistics", WHOLE)
HORIZON = 8

_Result = TypeVar("_Result")


class Clock:
    """Seconds of every step: those on the wall, and those of the processor (all threads together)."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}

    def of(self, step: str, work: Callable[[], _Result]) -> _Result:
        """Do the work, remember how long it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.seconds[step] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        return result


def measure(root: Path) -> dict[str, dict[str, float]]:
    """{step: {"wall", "cpu"}} in seconds: the steps one by one, then all that training does before its first batch."""
    clock = Clock()
    _one_by_one(root, clock)  # has let go of its memory when the whole comes
    clock.of(WHOLE, lambda: _dataset(root).prepare())
    return clock.seconds


def _one_by_one(root: Path, clock: Clock) -> None:
    source = clock.of("open", lambda: AnyFormat().open(root))
    clock.of("validate", lambda: validate(source, decode=False, cameras=()))
    numbers = clock.of("numbers", lambda: Numbers.of(source))
    training = clock.of("fingerprints and split", lambda: _training_side(source, numbers))
    learned = numbers.frames_of(training)
    clock.of("statistics", lambda: fit([(numbers, learned)], horizon=HORIZON, pairing=None))


def _training_side(source: Source, numbers: Numbers) -> list[int]:
    tasks = [source.tasks[task] for task in numbers.task[numbers.begins].tolist()]
    hashes = fingerprints(source, numbers, folder=None)
    return split_episodes(tasks, hashes, seed=0, validation_fraction=0.05)[0]


def _dataset(root: Path) -> Dataset:
    return Dataset(
        root=root,
        embodiment="bench",
        horizon=HORIZON,
        action_dim_max=ACTION,
        state_dim_max=STATE,
        image_size=32,
        cameras=(),
    )


def run(counts: Sequence[int], *, frames: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Each dataset in turn, written below `folder`, measured `rounds` times, and removed.

    Returns plain data: {"machine", "frames", "rounds", "results": [{"episodes", "steps": {step: {"wall", "cpu"}}}]},
    where every step has its quickest round: what else runs on a machine only ever adds.
    """
    results = []
    for episodes in tqdm(counts, desc="bench prepare", unit="dataset", disable=None):
        root = folder / f"episodes{episodes}"
        try:
            write_many(root, episodes=episodes, frames=frames)
            found = [measure(root) for _ in range(rounds)]
        finally:
            shutil.rmtree(root, ignore_errors=True)
        steps = {step: {of: min(one[step][of] for one in found) for of in ("wall", "cpu")} for step in STEPS}
        results.append({"episodes": episodes, "steps": steps})
    return {"machine": machine(), "frames": frames, "rounds": rounds, "results": results}
