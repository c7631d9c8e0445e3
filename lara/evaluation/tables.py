"""Tables of text, for a terminal and for a markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table; the first column is left-aligned, all others right-aligned. Pipes in cells are escaped."""
    cells = [[c.replace("|", "\\|") for c in row] for row in rows]
    rule = [":---"] + ["---:"] * (len(headers) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(headers), rule, *cells]) + "\n"


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same with aligned columns for a terminal."""
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    lines = []
    for row in [list(headers), ["-" * w for w in widths], *rows]:
        first = row[0].ljust(widths[0])
        lines.append("  ".join([first, *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip())
    return "\n".join(lines) + "\n"


def percent(rate: float | None) -> str:
    """ "92.5", or "-" where nothing was measured."""
    return "-" if rate is None else f"{100 * rate:.1f}"


def interval(low: float | None, high: float | None) -> str:
    """ "[86.1, 96.0]", in percent, or "-"."""
    return "-" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"


UNTRAINED = " (not in the training data)"
SUCCESS_HEADERS = ("task", "tier", "success", "of", "%", "95 % interval")


def success_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Rows under `SUCCESS_HEADERS` for a summary of `statistics.summarise`: tasks, tiers, and the whole.

    A task whose row says trained=False is marked.
    """
    rows = [_row(_marked(task, row), row["tier"], row) for task, row in summary["tasks"].items()]
    if len(summary["tiers"]) > 1:
        rows += [_row(f"tier: {tier}", tier, row) for tier, row in summary["tiers"].items()]
    overall = summary["overall"]
    rows.append(_row("all episodes", "", overall))
    rows.append(["mean of tasks", "", "", "", percent(overall["mean_of_tasks"]), ""])
    if len(summary["tiers"]) > 1:
        rows.append(["mean of tiers", "", "", "", percent(overall["mean_of_tiers"]), ""])
    return rows


def _row(name: str, tier: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        tier,
        str(row["successes"]),
        str(row["n"]),
        percent(row["rate"]),
        interval(row["low"], row["high"]),
    ]


def _marked(task: str, row: dict[str, Any]) -> str:
    return f"{task}{UNTRAINED}" if row.get("trained") is False else task
