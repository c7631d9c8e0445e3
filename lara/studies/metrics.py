"""Reading a run's metrics.jsonl."""

from __future__ import annotations

from pathlib import Path

from lara.errors import CheckpointError
from lara.pages.charts import Line
from lara.store.metrics import METRICS, read_metrics


def read_metric(run: Path, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one key; empty where it never occurs. What was not finite is left out.

    Raises:
        CheckpointError: naming file and line, for a log that was changed.
    """
    records = read_metrics(run / METRICS, CheckpointError).records
    found = [(entry["step"], entry[key]) for entry in records if entry.get(key) is not None]
    return [step for step, _ in found], [value for _, value in found]


def metric_line(label: str, run: Path, key: str, colour: str, dash: str = "solid") -> Line:
    """A metric over steps, as a chart's line."""
    steps, values = read_metric(run, key)
    return Line(label=label, x=steps, y=values, colour=colour, dash=dash)


def tail_mean(run: Path, key: str) -> float | None:
    """Mean of the last fifth of the logged values; None where there are none."""
    _, values = read_metric(run, key)
    tail = values[-max(1, len(values) // 5) :]
    return sum(tail) / len(tail) if tail else None
