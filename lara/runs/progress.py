"""How far a run is, and about how long the rest takes."""

from __future__ import annotations

import time
from pathlib import Path

from lara.errors import CheckpointError
from lara.runs.book import Book
from lara.runs.plan import Arm, Phase
from lara.store.metrics import METRICS, read_metrics


class Progress:
    """Of the trainings of one phase. The estimate counts optimisation steps alone; what follows takes a small part.

    Args:
        phase: Whose arms are counted.
        book: What is finished.
        title: Begins each line.
    """

    def __init__(self, phase: Phase, book: Book, *, title: str) -> None:
        self.phase, self.book, self.title = phase, book, title
        self.started = time.monotonic()
        self._at_start = sum(self._steps(arm) for arm in phase.arms)

    def line(self, *, now: float | None = None) -> str:
        """E.g. "[lams] 1 of 3 done, 900 of 1700 steps, about 4 min left; alam_tiny_lam_seed0 300/600"."""
        elapsed = (time.monotonic() if now is None else now) - self.started
        arms = self.phase.arms
        steps, total = sum(self._steps(arm) for arm in arms), sum(arm.total for arm in arms)
        here = steps - self._at_start
        left = f"about {(total - steps) / here * elapsed / 60:.0f} min of training left" if here else "no estimate yet"
        done = sum(self._done(arm) for arm in arms)
        line = f"[{self.title}] {done} of {len(arms)} done, {steps} of {total} steps, {left}"
        return "; ".join([line, *(text for arm in arms if (text := self._under_way(arm)))])

    def _done(self, arm: Arm) -> bool:
        return all(self.book.finished(step) for step in arm.steps)

    def _under_way(self, arm: Arm) -> str:
        if self._done(arm):
            return ""
        step = next(step for step in arm.steps if not self.book.finished(step))
        if not step.trainings:
            return step.name if step is not arm.steps[0] else ""
        here = sum(min(steps, last_step(folder)) for folder, steps in step.trainings.items())
        return f"{step.name} {here}/{sum(step.trainings.values())}" if here else ""

    def _steps(self, arm: Arm) -> int:
        """Optimisation steps that are done, as the book and the metrics say."""
        finished = {folder for step in arm.steps if self.book.finished(step) for folder in step.trainings}
        return sum(s if f in finished else min(s, last_step(f)) for f, s in arm.trainings.items())


def last_step(folder: Path) -> int:
    """The last step that a run folder's metrics speak of; 0 without any.

    Raises:
        CheckpointError: naming file and line, for a log that was changed.
    """
    lines = read_metrics(folder / METRICS, CheckpointError)  # (a half written last line is not among them)
    return lines.records[-1]["step"] if lines.records else 0
