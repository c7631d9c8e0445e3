"""Runs the plan: some models at a time, each trained and then probed, with an estimate of what is left."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lara.demo.steps import Runner
from lara.lams.plan import Model

REPORT_EVERY = 20.0  # seconds


def run(models: Sequence[Model], runner: Runner, *, workers: int) -> None:
    """Runs what is not done yet. A model that is trained anew is probed anew.

    The first failure is raised when the steps under way have ended; no other is started after it.
    """
    progress = Progress(models, runner)
    ended, failed = threading.Event(), threading.Event()
    watch = threading.Thread(target=progress.watch, args=(ended,), daemon=True)
    watch.start()
    try:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(_one, model, runner, failed) for model in models]
        for future in futures:
            future.result()
    except BaseException:
        failed.set()  # an interruption starts nothing more either
        raise
    finally:
        ended.set()
        watch.join()


def _one(model: Model, runner: Runner, failed: threading.Event) -> None:
    if failed.is_set():
        return
    try:
        if not runner.finished(model.train):
            runner.forget(model.probe)
        runner.run(model.train, show=False)
        if not failed.is_set():
            runner.run(model.probe, show=False)
    except BaseException:
        failed.set()  # here, before this thread takes the next model
        raise


class Progress:
    """How far the trainings are. The estimate counts steps of training alone; probing takes a small part of it."""

    def __init__(self, models: Sequence[Model], runner: Runner) -> None:
        self.models, self.runner = models, runner
        self.started = time.monotonic()
        self.at_start = sum(self._steps(m) for m in models)

    def watch(self, ended: threading.Event) -> None:
        while not ended.wait(REPORT_EVERY):
            print(self.line(), flush=True)

    def line(self, *, now: float | None = None) -> str:
        """E.g. "[lams] 1 of 3 probed, 900 of 1700 steps, about 4 min left; lam_alam_tiny_seed0 300/600"."""
        elapsed = (time.monotonic() if now is None else now) - self.started
        steps, total = sum(self._steps(m) for m in self.models), sum(m.steps for m in self.models)
        here = steps - self.at_start
        left = f"about {(total - steps) / here * elapsed / 60:.0f} min of training left" if here else "no estimate yet"
        probed = sum(self.runner.finished(m.probe) for m in self.models)
        under_way = [
            f"{m.train.name} {self._steps(m)}/{m.steps}"
            for m in self.models
            if self._steps(m) > 0 and not self.runner.finished(m.train)
        ]
        line = f"[lams] {probed} of {len(self.models)} probed, {steps} of {total} steps, {left}"
        return "; ".join([line, *under_way])

    def _steps(self, model: Model) -> int:
        """Steps of training that are done, as its log says."""
        if self.runner.finished(model.train):
            return model.steps
        log = model.run / "metrics.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        for line in reversed(lines):
            try:
                return min(model.steps, int(json.loads(line)["step"]))
            except (json.JSONDecodeError, KeyError):  # the last line may be half written
                continue
        return 0
