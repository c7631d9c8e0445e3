"""Starting steps as processes and signalling them, each exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from lara.config.trust import trusted
from lara.runs.plan import Step

PROGRAM = (sys.executable, "-m", "lara.cli")


class Processes:
    """Runs steps, any number at a time, until told to stop.

    Each process is the leader of a process group of its own. A terminal sends Ctrl-C to its foreground group, which is
    then this process alone; the children receive what `stop` sends, and no second copy.

    Args:
        program: What is run with a step's arguments.
    """

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._program = tuple(program)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def execute(self, step: Step, log: Path, *, show: bool) -> int | None:
        """Runs one step to its end.

        Args:
            step: What to run.
            log: Its output is appended here.
            show: Let its output through to this terminal, too.

        Returns:
            The exit code (negative: ended by that signal); None where `stop` came before it could start.
        """
        environment = {**os.environ, "OMP_NUM_THREADS": str(step.threads), "PYTHONUNBUFFERED": "1"}
        with log.open("ab") as file:
            with self._lock:  # whatever starts before `stop` is signalled by it, and nothing starts after
                if self._stopped:
                    return None
                process = subprocess.Popen(
                    [*self._program, *step.arguments, *_trust_flags()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                )
                self._running.add(process)
            try:
                _copy(process, file, show=show)
                return process.wait()
            except BaseException:  # nobody reads its output any more (the disk is full, the terminal is gone)
                process.terminate()
                process.wait()
                raise
            finally:
                with self._lock:
                    self._running.discard(process)

    def stop(self, number: int) -> None:
        """Sends the signal to every process that runs, and starts no other. To be called once."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.send_signal(number)

    def kill(self) -> None:
        """Ends every process that runs, and whatever it started."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it has just ended


def _trust_flags() -> list[str]:
    """What this command line trusts, for the next."""
    trust = trusted()
    packages = [f"--allow-package={name}" for name in trust.packages]
    return [*packages, "--trust-remote-code"] if trust.remote_code else packages


def _copy(process: subprocess.Popen[bytes], file: BinaryIO, *, show: bool) -> None:
    assert process.stdout is not None
    while chunk := os.read(process.stdout.fileno(), 1 << 16):
        file.write(chunk)
        file.flush()
        if show:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    process.stdout.close()
