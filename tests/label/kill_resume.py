"""Kills labelling with SIGKILL at random instants, goes on, and compares with a run that was left alone.

    python -m tests.label.kill_resume 10 [seed]

A trial is killed up to three times, at times drawn uniformly over an uninterrupted run's duration, then finished; every
file of its table must have the same bytes. Exit code 0 when all trials do. Runs are forked from this process, which
has imported everything and labels nothing itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from lara.label.run import LabelSettings, label
from tests.data.worlds import write
from tests.label.worlds import files, joint_run

LENGTHS = (12, 9, 14, 7, 11, 16, 8, 13)
SETTINGS = LabelSettings(workers=0, shard_frames=10, batch_size=4)


def fork(root: Path, output: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        label(lam=root / "lam", dataset=root / "data", output=output, settings=SETTINGS)
        code = 0
    finally:
        os._exit(code)


def finish(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError(f"a run that nobody disturbed ended with status {status}")


def trial(root: Path, output: Path, duration: float, rng: random.Random) -> list[int]:
    """How many units were finished at each kill that hit a living run."""
    hits = []
    for _ in range(3):
        child = fork(root, output)
        time.sleep(rng.uniform(0.0, duration))
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] == 0:
            return hits
        work = output.with_name(f".labelling-{output.name}")
        hits.append(len(list(work.glob("units/unit-*.parquet"))) if not output.exists() else -1)
    finish(fork(root, output))
    return hits


def main(count: int, seed: int = 0) -> int:
    torch.set_num_threads(1)
    rng, bad, hits = random.Random(seed), 0, []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "data", LENGTHS, data_file_mb=0.001)
        joint_run(root / "lam")
        start = time.perf_counter()
        finish(fork(root, root / "straight"))
        duration = time.perf_counter() - start
        expected = files(root / "straight")
        for k in range(count):
            hits += trial(root, root / f"trial{k}", duration, rng)
            bad += files(root / f"trial{k}") != expected
    kills = {"kills": len(hits), "units_finished_at_kill": sorted(hits)}
    print(json.dumps({"trials": count, "identical": count - bad, **kills, "seconds_of_one_run": round(duration, 2)}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*(int(a) for a in sys.argv[1:3])))
