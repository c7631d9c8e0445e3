"""Signals as polite questions, and the exit codes that answer them.

exit code   meaning                                                 a scheduler should
0           all steps of the stage are done                         go on to the next job
2           an error that a person has to look at                   not run it again
75          stopped before the end; started again it goes on        requeue it (sysexits.h: EX_TEMPFAIL)
129 + n     stopped before the end by SIGHUP, SIGINT, ...           leave that to whoever sent the signal
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_log = logging.getLogger("lara.train")
# SIGUSR1 is how schedulers announce the end of a time limit (Slurm: --signal=USR1@120)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Interrupted(KeyboardInterrupt):
    """A signal arrived where nothing is worth saving, or arrived twice. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """Catches SIGTERM, SIGINT, SIGHUP and SIGUSR1 between __enter__ and __exit__.

    Before training there is nothing to lose: a signal raises `Interrupted` at once. Inside `deferred()` the first one
    only sets `number`, so that the step can be finished and saved; the second raises `Interrupted`. Outside the main
    thread Python delivers no signals, and this does nothing. `interrupted_by` remembers what was raised for, because
    libraries turn an exception that comes in the middle of their work into errors of their own. A signal that is
    ignored on entry (`nohup` does so with SIGHUP) stays ignored, but for SIGINT, which shells ignore for every command
    that they start in the background.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.interrupted_by: int | None = None
        self._deferred = False
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self.number is not None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGINT:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous = {}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, the first signal waits for the end of the step."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._deferred or self.requested:
            self.interrupted_by = number
            raise Interrupted(number)
        self.number = number
        _log.warning(
            "%s: saving a checkpoint after this step, then leaving (once more leaves at once)",
            signal.Signals(number).name,
        )


def exit_code(number: int | None, *, requeue: bool) -> int:
    """The exit code of a training that the signal `number` ended (None: it ended by itself).

    Args:
        number: SIGUSR1 always asks for a requeue.
        requeue: SIGTERM asks for one too (`runtime.requeue`), as where a scheduler preempts by it.
    """
    if number is None:
        return 0
    if number == signal.SIGUSR1 or (requeue and number == signal.SIGTERM):
        return os.EX_TEMPFAIL
    return 128 + number
