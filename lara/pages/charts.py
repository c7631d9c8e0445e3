"""Charts as inline SVG in the colours of the page, light and dark alike."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lara.errors import missing_extra
from lara.pages.palette import DASHES, LIGHT, SERIES

FEW = 12  # points up to which each is marked
_DASH = {"solid": "-", "dashed": "--", "dotted": ":"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart.

    Attributes:
        x, y: Of equal length. Points whose y is None or not finite are left out.
        colour: A name of `palette`; by place in the chart unless given.
        dash: "solid", "dashed" or "dotted".
        width: In points.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: str | None = None
    dash: str | None = None
    width: float = 1.7


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart of lines over a common axis.

    Attributes:
        title: "" where the section's own says it.
        log: Whether the vertical axis is logarithmic.
    """

    title: str
    lines: Sequence[Line]
    xlabel: str = "step"
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One chart of points, coloured by an angle in radians."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    angles: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A chart that is drawn: its title, its SVG, and its legend as (label, colour name, dash)."""

    title: str
    svg: str
    legend: tuple[tuple[str, str, str], ...] = ()


def draw(panels: Sequence[Panel | Cloud]) -> tuple[Drawing, ...]:
    """Draws each chart by itself, so that a narrow screen can put them one below the other.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plt = _pyplot()
    return tuple(_lines(plt, p) if isinstance(p, Panel) else _cloud(plt, p) for p in panels)


def _lines(plt: Any, panel: Panel) -> Drawing:
    figure, axes = plt.subplots(figsize=(4.2, 2.6))
    legend = []
    for place, line in enumerate(panel.lines):
        colour = line.colour or SERIES[place % len(SERIES)]
        dash = line.dash or DASHES[place // len(SERIES) % len(DASHES)]
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None and math.isfinite(y)]
        if not points:
            continue
        legend.append((line.label, colour, dash))
        x, y = zip(*points, strict=True)
        marker = "o" if len(points) <= FEW else None
        axes.plot(x, y, _DASH[dash], color=LIGHT[colour], linewidth=line.width, marker=marker, markersize=3)
    axes.set_xlabel(panel.xlabel)
    axes.grid(color=LIGHT["line"], linewidth=0.8)
    if panel.log and legend:
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    return Drawing(title=panel.title, svg=_svg(plt, figure, panel.title), legend=tuple(legend))


def _plain_numbers(axis: Any) -> None:
    """A logarithmic axis labels itself in TeX, which is text here; it still decides which ticks have labels."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain(minor_thresholds=(1, 0.4)))


def _cloud(plt: Any, cloud: Cloud) -> Drawing:
    figure, axes = plt.subplots(figsize=(3.6, 3.2))
    axes.scatter(cloud.x, cloud.y, c=cloud.angles, cmap="twilight", vmin=-math.pi, vmax=math.pi, s=9, linewidths=0)
    return Drawing(title=cloud.title, svg=_svg(plt, figure, cloud.title))


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_extra("matplotlib", "report", "A page with charts") from error
    ink, soft = LIGHT["ink"], LIGHT["soft"]
    plt.rcParams.update(
        {
            "font.family": "sans-serif",
            "font.size": 9,
            "text.parse_math": False,  # a label is text, also where it holds a dollar sign
            "svg.fonttype": "none",
            "svg.hashsalt": "lara",  # equal charts are equal files
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": soft,
            "axes.labelcolor": soft,
            "axes.facecolor": "none",
            "figure.facecolor": "none",
            "text.color": ink,
            "xtick.color": soft,
            "ytick.color": soft,
        }
    )
    return plt


def _svg(plt: Any, figure: Any, title: str) -> str:
    """The figure's markup, its colours replaced by the page's variables; the figure is closed."""
    figure.tight_layout()
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Title": title}, bbox_inches="tight", transparent=True)
    plt.close(figure)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
