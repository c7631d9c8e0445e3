"""Runs a plan: what is finished is not repeated, what was interrupted goes on, and nothing unfinished is called done.

A step is finished when its process ended with 0 AND each training in it says so in its own `result.json`. The first
SIGINT, SIGTERM, SIGHUP or SIGUSR1, or the end of the time given, is passed on once to the steps under way; they save
and leave, nothing more is started, and the exit code says that something is left. A second signal ends them at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lara.errors import ConfigError, DataError, LaraError
from lara.runs.book import Book
from lara.runs.plan import Arm, Phase, Plan, Step
from lara.runs.processes import Processes
from lara.runs.progress import Progress
from lara.runs.stopping import UNFINISHED, Stopping
from lara.store.lock import only_one
from lara.store.records import read_json

REPORT_EVERY = 20.0  # seconds
POLL_EVERY = 0.1  # seconds
RESULT = "result.json"


class Executor(Protocol):
    """How steps are run; `Processes` outside of tests."""

    def execute(self, step: Step, log: Path, *, show: bool) -> int | None: ...

    def stop(self, number: int) -> None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        exit_code: 0 where everything is finished; otherwise 128 + the signal that stopped it, or 75: run the same
            command again.
        book: What each step took.
    """

    exit_code: int
    book: Book

    @property
    def finished(self) -> bool:
        return self.exit_code == 0


def run(plan: Plan, folder: Path, *, minutes: float | None = None, executor: Executor | None = None) -> Outcome:
    """Runs what is not finished yet.

    Args:
        plan: What to run.
        folder: Holds the book and `logs/`; made where it does not exist.
        minutes: After which the steps under way are stopped, to be continued by the same command; None for no limit.
        executor: Processes of this machine unless given.

    Returns:
        How it ended, when no step is under way any more.

    Raises:
        LaraError: A step failed. It is raised when the steps beside it have ended; no other is started after it.
        ConfigError: Another process runs in this folder.
    """
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"minutes is how long the run may take before it stops, more than 0; got {minutes}")
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with only_one(folder, "training"), Stopping(None if minutes is None else 60 * minutes) as stopping:
        book = Book(folder)
        runner = _Runner(plan, folder, book, Processes() if executor is None else executor, stopping)
        code = runner.run()
    if code:
        left = sum(not book.finished(step) for step in plan.steps)
        print(
            f"[{plan.title}] stopped, {left} of {len(plan.steps)} commands left; the same command goes on", flush=True
        )
    return Outcome(exit_code=code, book=book)


class _Runner:
    def __init__(self, plan: Plan, folder: Path, book: Book, executor: Executor, stopping: Stopping) -> None:
        self.plan, self.folder, self.book, self.executor, self.stopping = plan, folder, book, executor, stopping
        self.halted = False  # no more steps, whatever the reason
        self.stopped_by: int | None = None  # exit code of a step that was stopped without us

    def run(self) -> int:
        for number, phase in enumerate(self.plan.phases):
            later = [step for after in self.plan.phases[number + 1 :] for arm in after.arms for step in arm.steps]
            self._phase(phase, later)
            if self.stopping.forward is not None:
                return self.stopping.exit_code
            if self.stopped_by is not None:
                return self.stopped_by
        return 0

    def _phase(self, phase: Phase, later: Sequence[Step]) -> None:
        several = phase.workers > 1 and len(phase.arms) > 1
        progress = Progress(phase, self.book, title=self.plan.title) if several else None
        with ThreadPoolExecutor(phase.workers) as pool:
            futures = [pool.submit(self._arm, arm, later, not several) for arm in phase.arms]
            self._watch(futures, progress)
        for future in futures:
            future.result()

    def _watch(self, futures: Sequence[Future[None]], progress: Progress | None) -> None:
        """Until all have ended; in the main thread, where signals are noted."""
        asked, killed, reported = False, False, time.monotonic()
        pending: set[Future[None]] = set(futures)
        while pending:
            _, pending = wait(pending, timeout=POLL_EVERY, return_when=FIRST_EXCEPTION)
            if not asked and (number := self.stopping.forward) is not None:
                asked = self.halted = True
                print(f"[{self.plan.title}] stopping: waiting for what runs to save; once more to end it", flush=True)
                self.executor.stop(number)
            if not killed and self.stopping.insists:
                killed = True
                self.executor.kill()
            if progress is not None and time.monotonic() - reported >= REPORT_EVERY:
                reported = time.monotonic()
                print(progress.line(), flush=True)

    def _arm(self, arm: Arm, later: Sequence[Step], show: bool) -> None:
        try:
            for place, step in enumerate(arm.steps):
                if self.halted:
                    return
                if self.book.finished(step):
                    print(f"[{step.name}] finished before ({self.book[step].seconds:.0f} s)", flush=True)
                    continue
                self.book.forget((*arm.steps[place + 1 :], *later))  # what they read is about to change
                self._step(step, show)
        except BaseException:
            self.halted = True  # here, before this thread takes the next arm
            raise

    def _step(self, step: Step, show: bool) -> None:
        print(f"[{step.name}] $ {step.command}", flush=True)
        log = self.folder / "logs" / f"{step.name}.log"
        self.book.begin(step)
        started = time.perf_counter()
        finished = False
        try:
            code = self.executor.execute(step, log, show=show)
            finished = code == 0 and self._says_finished(step, log)
        finally:
            seconds = time.perf_counter() - started
            self.book.end(step, seconds=seconds, finished=finished)
        if finished:
            print(f"[{step.name}] finished in {self.book[step].seconds:.0f} s", flush=True)
        elif self.stopping.forward is not None or code is None:
            self.halted = True
        elif code in UNFINISHED:  # somebody else's signal; the step saved what it had
            self.halted = True
            self.stopped_by = 128 - code if code < 0 else code
        else:
            raise LaraError(f"step '{step.name}' failed with exit code {code}; the end of {log}:\n{_tail(log)}")

    def _says_finished(self, step: Step, log: Path) -> bool:
        """Whether each training in a step that exited with 0 says that it is finished.

        Raises:
            LaraError: One says otherwise although nothing asked it to stop: its exit code is not to be believed.
        """
        for folder, steps in step.trainings.items():
            said = _result(folder / RESULT)
            if said.get("finished") is True and said.get("step") == steps:
                continue
            if self.stopping.forward is not None:
                return False
            raise LaraError(
                f"step '{step.name}' exited with 0, but {folder / RESULT} says {said or 'nothing'} where "
                f"{{'finished': True, 'step': {steps}}} was expected; the end of {log}:\n{_tail(log)}"
            )
        return True


def _result(path: Path) -> dict[str, Any]:
    try:
        said = read_json(path, DataError)
    except DataError:
        return {}
    return said if isinstance(said, dict) else {}


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").replace("\r", "\n").splitlines()[-15:]) if log.exists() else ""
