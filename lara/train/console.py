"""What a person sees of a training, on stderr: lines, and a progress bar where there is a terminal.

Nothing here may end a training: a reader that went away (a closed pipe, a dropped connection) is simply not told more.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

from tqdm.auto import tqdm

_SILENCE = 30.0  # seconds between two progress lines where there is no terminal


class _Lines(logging.Handler):
    """Log records as lines on stderr, above the bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            tqdm.write(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def log_lines() -> Iterator[None]:
    """Inside, what lara logs from INFO on appears on stderr, unless the program has set up logging itself."""
    logger = logging.getLogger("lara")
    if logger.handlers or logging.getLogger().handlers:
        yield
        return
    handler, level = _Lines(), logger.level
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Unbreakable:
    """stderr, whose failures are nobody's business."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return _terminal()


class ProgressBar:
    """Where a stage stands and how long it will take. On a terminal a bar; elsewhere a line now and then.

    Args:
        shown: False on all ranks but the first.
    """

    def __init__(self, *, name: str, steps: int, start: int, shown: bool) -> None:
        self._bar = tqdm(
            total=steps, initial=start, desc=name, unit="step", disable=not (shown and _terminal()), file=_Unbreakable()
        )
        self._log = logging.getLogger("lara.train") if shown and not _terminal() else None
        self._name, self._steps, self._start = name, steps, start
        self._step, self._begun, self._spoke = start, time.monotonic(), time.monotonic()

    def advance(self) -> None:
        """After every step."""
        self._step += 1
        self._bar.update()

    def show(self, loss: float | None) -> None:
        """At log steps. None: every step since the last one was non-finite."""
        if loss is None:
            return
        self._bar.set_postfix(loss=f"{loss:.4g}")
        now = time.monotonic()
        if self._log is not None and now - self._spoke >= _SILENCE:
            self._spoke = now
            pace = (now - self._begun) / (self._step - self._start)
            left = duration(pace * (self._steps - self._step))
            self._log.info("%s: step %d of %d, loss %.4g, %s left", self._name, self._step, self._steps, loss, left)

    def close(self) -> None:
        self._bar.close()


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 20 min", "2 d 5 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _terminal() -> bool:
    with contextlib.suppress(OSError, ValueError):
        return sys.stderr.isatty()
    return False
