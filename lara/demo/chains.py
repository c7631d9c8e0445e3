"""Runs chains of steps, some chains at a time, with an estimate of what is left."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lara.demo.steps import Runner, Step

REPORT_EVERY = 20.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Chain:
    """steps: in order, each of what the ones before it wrote; the first trains. logs: metrics.jsonl of each of its
    trainings -> the steps of optimisation that it takes."""

    steps: tuple[Step, ...]
    logs: Mapping[Path, int]


def run_chains(chains: Sequence[Chain], runner: Runner, *, workers: int, title: str) -> None:
    """Runs what is not done yet. What follows a step that is run anew is run anew, too.

    title: of the lines that say how far it is. The first failure is raised when the steps under way have ended; no
    other is started after it.
    """
    progress = Progress(chains, runner, title=title)
    ended, failed = threading.Event(), threading.Event()
    watch = threading.Thread(target=progress.watch, args=(ended,), daemon=True)
    watch.start()
    try:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(_one, chain, runner, failed) for chain in chains]
        for future in futures:
            future.result()
    except BaseException:
        failed.set()  # an interruption starts nothing more either
        raise
    finally:
        ended.set()
        watch.join()


def _one(chain: Chain, runner: Runner, failed: threading.Event) -> None:
    try:
        for place, step in enumerate(chain.steps):
            if failed.is_set():
                return
            if not runner.finished(step):
                for later in chain.steps[place + 1 :]:
                    runner.forget(later)
            runner.run(step, show=False)
    except BaseException:
        failed.set()  # here, before this thread takes the next chain
        raise


class Progress:
    """How far the trainings are. The estimate counts their steps alone; what follows takes a small part of it."""

    def __init__(self, chains: Sequence[Chain], runner: Runner, *, title: str) -> None:
        self.chains, self.runner, self.title = chains, runner, title
        self.started = time.monotonic()
        self.at_start = sum(self._steps(c) for c in chains)

    def watch(self, ended: threading.Event) -> None:
        while not ended.wait(REPORT_EVERY):
            print(self.line(), flush=True)

    def line(self, *, now: float | None = None) -> str:
        """E.g. "[lams] 1 of 3 done, 900 of 1700 steps, about 4 min left; lam_alam_tiny_seed0 300/600"."""
        elapsed = (time.monotonic() if now is None else now) - self.started
        steps, total = sum(self._steps(c) for c in self.chains), sum(sum(c.logs.values()) for c in self.chains)
        here = steps - self.at_start
        left = f"about {(total - steps) / here * elapsed / 60:.0f} min of training left" if here else "no estimate yet"
        done = sum(all(self.runner.finished(s) for s in c.steps) for c in self.chains)
        line = f"[{self.title}] {done} of {len(self.chains)} done, {steps} of {total} steps, {left}"
        return "; ".join([line, *(text for c in self.chains if (text := self._under_way(c)))])

    def _under_way(self, chain: Chain) -> str:
        if all(self.runner.finished(s) for s in chain.steps):
            return ""
        if self.runner.finished(chain.steps[0]):
            return next(s.name for s in chain.steps if not self.runner.finished(s))
        steps = self._steps(chain)
        return f"{chain.steps[0].name} {steps}/{sum(chain.logs.values())}" if steps else ""

    def _steps(self, chain: Chain) -> int:
        """Steps of training that are done, as its logs say."""
        if self.runner.finished(chain.steps[0]):
            return sum(chain.logs.values())
        return sum(min(steps, _last_step(log)) for log, steps in chain.logs.items())


def _last_step(log: Path) -> int:
    lines = log.read_text().splitlines() if log.exists() else []
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (json.JSONDecodeError, KeyError):  # the last line may be half written
            continue
    return 0
