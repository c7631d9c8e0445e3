"""Lines over a common axis as inline SVG, for the pages of probes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from lara.errors import missing_extra

COLOURS = ("#d9730d", "#2463eb", "#2a9d5c", "#9aa3b2", "#8b5cf6", "#1d2330", "#b5179e", "#7a5c3a")
STYLES = ("-", "--", ":")


def curves(panels: Sequence[tuple[str, Mapping[str, tuple[Sequence[int], Sequence[float]]]]], xlabel: str) -> str:
    """Panels side by side as SVG markup: (title, label -> (x, y)); the first line is the model's."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(panels), figsize=(max(5.2, 4.1 * len(panels)), 2.9), squeeze=False)
    for axis, (title, lines) in zip(axes.flat, panels, strict=True):
        for k, (label, (x, y)) in enumerate(lines.items()):
            # the model is drawn first and wide, so that it shows under a baseline that it equals
            style = {"color": COLOURS[k % len(COLOURS)], "linestyle": STYLES[k // len(COLOURS) % len(STYLES)]}
            axis.plot(list(x), y, **style, label=label, linewidth=1.6 if k else 4, marker="o", markersize=3)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel(xlabel, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
    axes.flat[-1].legend(fontsize=7.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg(plt, figure)


def pyplot() -> Any:
    """matplotlib.pyplot in the style of the pages. Raises the missing extra by name."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_extra("matplotlib", "report", "A page with curves") from error
    plt.rcParams.update(
        {"font.family": "sans-serif", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
    )
    return plt


def svg(plt: Any, figure: Any) -> str:
    """The figure's markup; the figure is closed."""
    figure.tight_layout()
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]
