"""Why a run is to stop: a signal, the end of its time, a child that stopped, or a second signal."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # the last: Slurm's warning before its limit
REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run the same command again
UNFINISHED = frozenset({REQUEUE, *(128 + s for s in SIGNALS), *(-s for s in SIGNALS)})  # exit codes of a child


class Stopping:
    """Notes the first two signals, and nothing else: what follows from them is done by whoever polls.

    A context manager that installs handlers where Python allows it (the main thread) and puts the old ones back.

    Args:
        seconds: After which the run stops by itself, to be continued; None for no limit.

    Attributes:
        signals: Received so far, at most two matter.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.signals: list[int] = []
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # nohup
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

    @property
    def forward(self) -> int | None:
        """The signal that children are to be sent; None while nothing asks for it."""
        if self.signals:
            return signal.SIGINT if self.signals[0] == signal.SIGINT else signal.SIGTERM
        return signal.SIGTERM if self._ends is not None and time.monotonic() >= self._ends else None

    @property
    def insists(self) -> bool:
        """Whether a second signal came."""
        return len(self.signals) > 1

    @property
    def exit_code(self) -> int:
        """128 + the first signal; 75 where time was over, or is about to be (SIGUSR1)."""
        return REQUEUE if self.signals[:1] in ([], [signal.SIGUSR1]) else 128 + self.signals[0]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
