"""The tables of `lara lams` as a document and as a page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from lara.evaluation.tables import markdown_table
from lara.pages import blocks
from lara.pages.charts import Line, Panel, draw
from lara.pages.palette import SERIES
from lara.runs.book import Book
from lara.runs.plan import Step
from lara.studies.lams_tables import Cell, Family, Table
from lara.studies.what_ran import what_ran


def markdown(family: Family) -> str:
    """The whole report as a document; ends with a newline."""
    pieces = ["# Latent action models side by side", "", _conditions(family)]
    pieces += ["", "```", family.about["command"], "```", ""]
    for table in family.tables:
        rows = [[line.label, *(shown(cell, table.digits) for cell in line.cells)] for line in table.lines]
        pieces += [f"## {table.title}", "", table.note, "", markdown_table(["", *table.columns], rows)]
    pieces += [f"- {label}, {probe} does not apply: {reason}" for label, probe, reason in _reasons(family)]
    return "\n".join(pieces).rstrip() + "\n"


def page(family: Family, steps: Sequence[Step], book: Book) -> blocks.Page:
    """The same with charts over the horizons, and what was run."""
    sections = [_section(table, family.about["horizons"]) for table in family.tables]
    if family.reasons:
        table = blocks.Table(headers=["model", "probe", "reason"], rows=_reasons(family))
        sections.append(blocks.Section("Probes that do not apply", table))
    sections.append(what_ran(steps, book))
    return blocks.Page(
        title="lara lams",
        heading="Latent action models side by side",
        lead=[blocks.Text(_conditions(family)), blocks.Text(blocks.Code(family.about["command"]))],
        sections=sections,
    )


def shown(cell: Cell, digits: int) -> str:
    """The number, or mean ± standard deviation of several seeds; a dash where any seed has none."""
    numbers = [n for n in cell if n is not None]
    if not numbers or len(numbers) < len(cell):
        return "–"
    mean = f"{statistics.fmean(numbers):,.{digits}f}"
    return mean if len(numbers) == 1 else f"{mean} ± {statistics.stdev(numbers):,.{digits}f}"


def _conditions(family: Family) -> str:
    a = family.about
    seeds = ", ".join(str(s) for s in a["seeds"])
    machine = a["machine"]
    return (
        f"k = {a['k']} steps; at most {a['clips']} clips of {a['held_out_episodes']} held-out episodes of {a['data']}, "
        f"camera {a['camera']}, {a['image_size']} px, the same for every model; at most {a['fit_clips']} training "
        f"pairs for the action probes; seeds of training: {seeds}. Machine: {machine['cores']} cores "
        f"({machine['processor']}), Python {machine['python']}, {machine['trainings side by side']} trainings side by "
        "side, one thread each."
    )


def _reasons(family: Family) -> list[list[str]]:
    return [
        [family.labels[key], probe, reason]
        for key, reasons in family.reasons.items()
        for probe, reason in reasons.items()
    ]


def _section(table: Table, horizons: Sequence[int]) -> blocks.Section:
    rows = [[line.label, *(shown(cell, table.digits) for cell in line.cells)] for line in table.lines]
    baselines = [place for place, line in enumerate(table.lines) if line.model is None]
    numeric = range(1, 1 + len(table.columns))
    drawn = blocks.Table(headers=["", *table.columns], rows=rows, numeric=numeric, muted=baselines)
    note = blocks.Note(table.note)
    if not table.by_horizon:
        return blocks.Section(table.title, drawn, note)
    chart = blocks.Charts(draw([Panel(title="", lines=_lines(table, horizons), xlabel="steps")]))
    return blocks.Section(table.title, chart, drawn, note)


def _lines(table: Table, horizons: Sequence[int]) -> list[Line]:
    """A colour per model, dashed where its latents are composed; baselines dotted."""
    models = list(dict.fromkeys(line.model for line in table.lines if line.model is not None))
    baselines = iter(("control", "ink", "soft"))
    out = []
    for line in table.lines:
        if line.row == "other_latent":
            continue
        baseline = line.model is None
        colour = next(baselines) if line.model is None else SERIES[models.index(line.model) % len(SERIES)]
        dash = "dotted" if baseline else "dashed" if line.row == "cumulative" else "solid"
        cells = [_mean(cell) for cell in line.cells]
        out.append(Line(label=line.label, x=list(horizons), y=cells, colour=colour, dash=dash))
    return out


def _mean(cell: Cell) -> float | None:
    numbers = [n for n in cell if n is not None]
    return statistics.fmean(numbers) if numbers and len(numbers) == len(cell) else None
