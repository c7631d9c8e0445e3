"""Reading a run's metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

from lara.pages.charts import Line
from lara.runs.progress import METRICS


def read_metric(run: Path, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one key; empty where it never occurs."""
    steps, values = [], []
    for text in (run / METRICS).read_text().splitlines():
        entry = json.loads(text)
        if key in entry:
            steps.append(entry["step"])
            values.append(entry[key])
    return steps, values


def metric_line(label: str, run: Path, key: str, colour: str, dash: str = "solid") -> Line:
    """A metric over steps, as a chart's line."""
    steps, values = read_metric(run, key)
    return Line(label=label, x=steps, y=values, colour=colour, dash=dash)


def tail_mean(run: Path, key: str) -> float | None:
    """Mean of the last fifth of the logged values; None where there are none."""
    _, values = read_metric(run, key)
    tail = values[-max(1, len(values) // 5) :]
    return sum(tail) / len(tail) if tail else None
