"""Loss curves of several runs as one inline SVG."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lara.errors import missing_extra


@dataclass(frozen=True, kw_only=True)
class Panel:
    """title, and lines: label -> (run folder, metric key, colour, style)."""

    title: str
    lines: Mapping[str, tuple[Path, str, str, str]]
    log: bool = False


def read_metric(run: Path, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one key in a run's metrics.jsonl; empty where the key never occurs."""
    steps, values = [], []
    for line in (run / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if key in entry:
            steps.append(entry["step"])
            values.append(entry[key])
    return steps, values


def draw(panels: Sequence[Panel], *, columns: int = 3) -> str:
    """The panels side by side, as SVG markup."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_extra("matplotlib", "report", "The report's curves") from error
    rows = -(-len(panels) // columns)
    plt.rcParams.update(
        {"font.family": "sans-serif", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, axes = plt.subplots(rows, columns, figsize=(4.1 * columns, 2.7 * rows), squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for label, (run, key, colour, style) in panel.lines.items():
            steps, values = read_metric(run, key)
            if steps:
                marker = "o" if len(steps) < 12 else None
                axis.plot(steps, values, style, color=colour, label=label, linewidth=1.6, marker=marker, markersize=3)
        axis.set_title(panel.title, fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        if panel.log:
            axis.set_yscale("log")
        if axis.lines:
            axis.legend(fontsize=7.5, frameon=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    figure.tight_layout()
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
