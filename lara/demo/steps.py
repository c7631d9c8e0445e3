"""Runs commands one after the other or two at a time, remembers what finished, keeps a log of each.

A step is done when its process ended with 0; that is written down, so that an interrupted demo goes on where it was.
(The commands themselves resume too: a training that was cut off half-way does not start again.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lara.errors import LaraError


@dataclass(frozen=True, kw_only=True)
class Step:
    """name: for the log. arguments: of the `lara` command. threads: of torch and BLAS in this process."""

    name: str
    arguments: tuple[str, ...]
    threads: int = 1

    @property
    def command(self) -> str:
        """As a user would type it."""
        return "lara " + " ".join(f"'{a}'" if any(c in a for c in "[]{} ") else a for a in self.arguments)


class Runner:
    """Runs steps below one folder. `done` holds what each took in the run that finished it, and whether that run went
    on where an interrupted one of the same command had stopped ("resumed": the seconds are then not all)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.book, self.begun = folder / "steps.json", folder / "begun.json"
        self.done: dict[str, dict] = _read(self.book)
        self._begun: dict[str, str] = _read(self.begun)
        self._lock = threading.Lock()

    def run(self, step: Step, *, show: bool = True) -> None:
        """Runs one step unless it is done already. show: let its progress bars through to the terminal.

        Raises LaraError with the end of its log when it fails.
        """
        if self.finished(step):
            print(f"[{step.name}] done before ({self.done[step.name]['seconds']:.0f} s)", flush=True)
            return
        print(f"[{step.name}] $ {step.command}", flush=True)
        log = self.folder / "logs" / f"{step.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        resumed = self._begin(step)
        started = time.perf_counter()
        code = self._execute(step, log, show)
        if code != 0:
            tail = "\n".join(log.read_text(errors="replace").replace("\r", "\n").splitlines()[-15:])
            raise LaraError(f"step '{step.name}' failed with exit code {code}; the end of {log}:\n{tail}")
        self._finish(step, time.perf_counter() - started, resumed=resumed)

    def finished(self, step: Step) -> bool:
        """Whether this very command ended well before."""
        known = self.done.get(step.name)
        return known is not None and known["command"] == step.command

    def forget(self, step: Step) -> None:
        """The step is to be run again, because what it reads will change."""
        with self._lock:
            self._begun.pop(step.name, None)
            if self.done.pop(step.name, None) is not None:
                self._write()

    def _execute(self, step: Step, log: Path, show: bool) -> int:
        """Runs the step in a process of its own, its output appended to `log`; the exit code."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(step.threads), "PYTHONUNBUFFERED": "1"}
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "lara.cli", *step.arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert process.stdout is not None
            while chunk := os.read(process.stdout.fileno(), 1 << 16):
                file.write(chunk)
                if show:
                    sys.stdout.buffer.write(chunk)
                    sys.stdout.buffer.flush()
            return process.wait()

    def lanes(self, *lanes: Sequence[Step]) -> None:
        """Each lane runs its steps in order, the lanes run side by side. One thread each beats many threads in turn:
        these networks are too small to keep two cores busy with one step."""
        with ThreadPoolExecutor(len(lanes)) as pool:
            for future in [pool.submit(self._lane, lane, k == 0) for k, lane in enumerate(lanes)]:
                future.result()

    def _lane(self, steps: Sequence[Step], show: bool) -> None:
        for step in steps:
            self.run(step, show=show)

    def _begin(self, step: Step) -> bool:
        """Whether this very command was begun before and never ended."""
        with self._lock:
            resumed = self._begun.get(step.name) == step.command
            self._begun[step.name] = step.command
            self._write()
        return resumed

    def _finish(self, step: Step, seconds: float, *, resumed: bool) -> None:
        entry = {"command": step.command, "seconds": seconds, "threads": step.threads, "resumed": resumed}
        with self._lock:
            self.done[step.name] = entry
            self._begun.pop(step.name, None)
            self._write()
        print(f"[{step.name}] finished in {seconds:.0f} s", flush=True)

    def _write(self) -> None:
        for path, content in ((self.begun, self._begun), (self.book, self.done)):
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(content, indent=2))
            os.replace(partial, path)


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}
