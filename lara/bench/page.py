"""The measurements of `lara bench loader` as a section of a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lara.bench.loader import CACHE, LARA, Case


def section(record: Mapping[str, Any]) -> str:
    """What was measured, on what, and every figure with the lowest and highest round."""
    machine = record["machine"]
    ways = list(dict.fromkeys(name for result in record["results"] for name in result["warm"]))
    lines = [
        "## Loading",
        "",
        "Samples per second of processor time, one frame of every camera each, at random places; one process, one",
        f"thread. Median of {record['rounds']} rounds of {record['samples']} samples, all ways taking turns in one "
        "process (lowest to highest round).",
        f"lara's samples are resized to {record['image_size']} px, the others' are not. A file per episode and camera.",
        "Cold: one sample of every file with new readers and the files out of the page cache where the system allows.",
        f"Machine: {', '.join(f'{name} {value}' for name, value in machine.items())}. Written by `lara bench loader`.",
        "",
        "| dataset | " + " | ".join(ways) + " |",
        "|---" * (len(ways) + 1) + "|",
    ]
    for result in record["results"]:
        cells = [_rate(result["warm"].get(name)) for name in ways]
        lines.append(f"| {Case(**result['case']).said()} | " + " | ".join(cells) + " |")
    lines += ["", "| times the samples of | video | frame cache | video, cold |", "|---|---|---|---|"]
    for result in record["results"]:
        said = Case(**result["case"]).said()
        for reference, ratio in result["ratio"].items():
            cold = _times(result["cold ratio"]) if reference in result["cold"] else ""
            lines.append(f"| {reference}: {said} | {_times(ratio[LARA])} | {_times(ratio[CACHE])} | {cold} |")
    return "\n".join(lines) + "\n"


def _rate(rate: Mapping[str, float] | None) -> str:
    return "" if rate is None else f"{rate['median']:.0f} ({rate['low']:.0f} to {rate['high']:.0f})"


def _times(rate: Mapping[str, float]) -> str:
    return f"{rate['median']:.1f} ({rate['low']:.1f} to {rate['high']:.1f})"
