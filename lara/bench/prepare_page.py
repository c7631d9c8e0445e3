"""The measurements of `lara bench prepare` as a section of a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lara.bench.prepare import STEPS


def section(record: Mapping[str, Any]) -> str:
    """Seconds of every step, by the number of episodes, and on what they were measured."""
    machine, frames = record["machine"], record["frames"]
    lines = [
        "## Preparing",
        "",
        f"Seconds on the wall (of the processor, all threads together), the quickest of {record['rounds']} rounds: "
        "LeRobotDatasets v3.0 without pictures, of",
        f"episodes of {frames} frames, written as a recorder leaves them, read again after they were written. The last "
        "column is all",
        "that training does before its first batch, the others are its steps, one by one.",
        f"Machine: {', '.join(f'{name} {value}' for name, value in machine.items())}. Written by `lara bench prepare`.",
        "",
        "| episodes | " + " | ".join(STEPS) + " |",
        "|---" * (len(STEPS) + 1) + "|",
    ]
    for result in record["results"]:
        cells = [f"{result['steps'][step]['wall']:.2f} ({result['steps'][step]['cpu']:.2f})" for step in STEPS]
        lines.append(f"| {result['episodes']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
