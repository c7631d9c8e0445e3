"""Kills a training run with SIGKILL at random instants, resumes it, and compares it with a run that was left alone.

    python -m tests.train.kill_resume 20 [seed]

Every trial is killed at least once and up to three times, at times drawn uniformly over an uninterrupted run's duration
(so during steps, logging, validation and, most often, saving), and must end with the same bytes in every file of the
last checkpoint and in the metric log. Exit code 0 when all trials do. Runs are forked from this process, which never
trains itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import torch._dynamo  # the first optimiser imports it, which would take longer than the run in every child

from tests.train.toy import Toy, run

STEPS = 24


def train(output: Path, toy_seed: int) -> None:
    run(output, system=Toy(seed=toy_seed), steps=STEPS, save_every=2, log_every=5, validate_every=8)


def fork(output: Path, toy_seed: int) -> int:
    """The process id of a child that trains and leaves."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        train(output, toy_seed)
        code = 0
    finally:
        os._exit(code)


def finish(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError(f"a run that nobody disturbed ended with status {status}")


def result(output: Path) -> dict[str, bytes]:
    folder = output / "checkpoints" / f"step-{STEPS:08d}"
    return {p.name: p.read_bytes() for p in folder.iterdir()} | {"log": (output / "metrics.jsonl").read_bytes()}


def newest(output: Path) -> int:
    return max((int(p.name[5:]) for p in output.glob("checkpoints/step-*")), default=0)


def trial(output: Path, duration: float, rng: random.Random) -> list[int]:
    """The newest checkpoint's step at each kill that hit a living run."""
    hits = []
    for _ in range(3):
        # a system with other weights once there is a checkpoint: whatever is not restored shows
        child = fork(output, toy_seed=0 if newest(output) == 0 else 1)
        time.sleep(rng.uniform(0.0, duration))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return hits
        hits.append(newest(output))
    finish(fork(output, toy_seed=0 if newest(output) == 0 else 1))
    return hits


def main(count: int, seed: int = 0) -> int:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.perf_counter()
        finish(fork(root / "straight", 0))
        duration = time.perf_counter() - start
        expected, hits, bad = result(root / "straight"), Counter[int](), 0
        for k in range(count):
            hit = trial(root / str(k), duration, rng)
            while not hit:  # on a busy machine a run may end before its first kill, and has then shown nothing
                shutil.rmtree(root / str(k))
                hit = trial(root / str(k), duration, rng)
            hits.update(hit)
            found = result(root / str(k))
            differ = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
            if differ:
                bad += 1
                print(f"trial {k} DIFFERS in {', '.join(differ)}", file=sys.stderr)
    kills = {"kills": hits.total(), "kills_by_step": dict(sorted(hits.items()))}
    report = {"trials": count, "identical": count - bad, **kills, "seconds_of_one_run": round(duration, 2)}
    print(json.dumps(report))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*(int(a) for a in sys.argv[1:3])))
