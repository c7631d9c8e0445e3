"""Kills `lara train` at random instants, starts it again, and compares it with a run that was left alone.

    python -m tests.train.kill_resume 30 [seed]

The command is the real one, at toy size, with what makes resuming hard: two loader workers, accumulated micro-batches,
a moving average, LoRA with dropout, a codebook that moves, a target network, shifted images, checkpoints by steps and
by minutes. Every trial is hit between one and three times, at times drawn uniformly over an undisturbed run, by
SIGKILL, SIGTERM, SIGINT or SIGUSR1, sent to the process alone or to its whole group (as a terminal and a scheduler do).
A polite signal must be answered with its exit code, and result.json must not say "finished". In the end every file of
the last checkpoint, the metric log and result.json must hold the same bytes. Exit code 0 when all trials do.

Runs are forked from this process, which imports what they need and never trains itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import accelerate  # noqa: F401  (imported here once, instead of in every child)
import peft  # noqa: F401
import torch
import torch._dynamo  # the first optimiser imports it, which would take longer than the run

import lara.data.dataset
import lara.launch
from lara.cli import main as lara_command

STEPS = 14
SETTINGS = (
    *("experiment=demo/lara", "peft=lora", "align=ema_target", "latent=vq", "name=killed", "output=run"),
    *("image_size=32", "horizon=4", "data.embodiment=dot", "data.cameras=[top]", "data.lam.cameras=[top]"),
    *("policy.expert.width=32", "policy.expert.blocks=4", "policy.backbone.width=32", "lam.encoder.width=32"),
    *("lam.former.width=32", "lam.decoder.width=32", "lam.decoder.layers=1"),
    *("system.tuning.rank=4", "system.tuning.dropout=0.1", "data.augment.random_shift=2", "optim.ema_decay=0.9"),
    *(f"stage.steps={STEPS}", "runtime.batch_size=4", "runtime.accumulate=2", "runtime.workers=2"),
    *("runtime.log_every=5", "runtime.validate_every=6", "runtime.validation_limit=1"),
    *("runtime.save_every=3", "runtime.save_minutes=0.05"),
)
EXIT = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 75}


def collect(folder: Path) -> None:
    """A dataset of a few episodes."""
    arguments = ["collect", "benchmark=toy", "tasks=[reach-red]", "episodes=4", f"output={folder}", "processes=1"]
    _finish(_fork(folder.parent, arguments), folder.parent)


def _fork(folder: Path, arguments: list[str], *, other_weights: bool = False) -> int:
    """The id of a child, leader of a process group, that runs `lara` with these arguments in `folder`."""
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # done by whoever comes first
            os.setpgid(child, child)
        return child
    code = 70
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        os.chdir(folder)
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        if other_weights:
            lara.launch.build = _from_other_numbers(lara.launch.build)
        code = lara_command(arguments)
    except KeyboardInterrupt:  # before or after the command, where Python's own handler is in place
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _from_other_numbers(build):
    """A system that is built anew has other weights than the run had at its start: whatever is not restored shows."""

    def other(config, kind="model", *rest, **changes):
        if kind == "model":
            torch.manual_seed(4711)
        return build(config, kind, *rest, **changes)

    return other


def _train(folder: Path, data: Path) -> int:
    folder.mkdir(exist_ok=True)
    return _fork(folder, ["train", *SETTINGS, f"data.root={data}"], other_weights=_newest(folder) > 0)


def _finish(child: int, folder: Path) -> None:
    _, status = os.waitpid(child, 0)
    if status != 0:
        log = (folder / "log.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"a command that nobody disturbed ended with status {status}:\n{log}")


def _newest(folder: Path) -> int:
    return max((int(p.name[5:]) for p in folder.glob("run/checkpoints/step-*")), default=0)


def _outcome(folder: Path) -> dict[str, bytes]:
    run = folder / "run"
    last = run / "checkpoints" / f"step-{STEPS:08d}"
    files = {p.name: p.read_bytes() for p in last.iterdir()}
    return files | {name: (run / name).read_bytes() for name in ("metrics.jsonl", "result.json")}


def _hit(child: int, folder: Path, rng: random.Random, duration: float) -> tuple[str, int] | None:
    """Sends one signal at a random time; (its name, newest step) if it found the run alive, and None otherwise."""
    number = rng.choice([signal.SIGKILL, signal.SIGKILL, *EXIT])
    send = rng.choice([os.kill, os.killpg])
    time.sleep(rng.uniform(0.0, duration))
    send(child, number)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    # a negative code is death by the signal: SIGKILL always, the others before Python set its handlers up
    if code not in (-number, EXIT.get(number, -number)):
        log = (folder / "log.txt").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{signal.Signals(number).name} was answered with {code}:\n{log}")
    result = folder / "run" / "result.json"
    if result.exists() and json.loads(result.read_bytes())["finished"] and _newest(folder) < STEPS:
        raise RuntimeError(f"{result} says finished after step {_newest(folder)}")
    return signal.Signals(number).name, _newest(folder)


def trial(folder: Path, data: Path, duration: float, rng: random.Random) -> list[tuple[str, int]]:
    """The signals that found a living run, and the newest checkpoint's step after each."""
    hits = []
    for _ in range(rng.randint(1, 3)):
        hit = _hit(_train(folder, data), folder, rng, duration)
        if hit is None:
            return hits
        hits.append(hit)
    _finish(_train(folder, data), folder)
    return hits


def main(count: int, seed: int = 0) -> int:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data = root / "data"
        collect(data)
        start = time.perf_counter()
        _finish(_train(root / "straight", data), root / "straight")  # fills the frame cache for those that follow
        duration = time.perf_counter() - start
        expected, hits, bad = _outcome(root / "straight"), Counter[tuple[str, int]](), 0
        for k in range(count):
            folder = root / str(k)
            while not (hit := trial(folder, data, duration, rng)):  # ended before its first signal: shown nothing
                shutil.rmtree(folder)
            hits.update(hit)
            found = _outcome(folder)
            differ = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
            if differ:
                bad += 1
                print(f"trial {k} DIFFERS in {', '.join(differ)} after {hit}", file=sys.stderr)
            else:
                shutil.rmtree(folder)
            print(f"trial {k}: {hit}", file=sys.stderr, flush=True)
    report = {
        "trials": count,
        "identical": count - bad,
        "hits": hits.total(),
        "by_signal": dict(sorted(Counter(name for name, _ in hits.elements()).items())),
        "by_step": dict(sorted(Counter(step for _, step in hits.elements()).items())),
        "seconds_of_one_run": round(duration, 2),
    }
    print(json.dumps(report))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*(int(a) for a in sys.argv[1:3])))
