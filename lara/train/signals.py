"""SIGTERM and SIGINT as a polite question: save at the end of this step, then leave."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

_log = logging.getLogger("lara.train")


class StopRequest:
    """`requested` becomes true on the first SIGTERM or SIGINT; the second does what it did before.

    A context manager. Outside the main thread Python has no signals, and `requested` stays false.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        _log.warning("%s: saving a checkpoint after this step, then leaving", signal.Signals(number).name)
        self.requested = True
        self.__exit__()
