"""lams.md, lams.json and lams.html: the same tables three times."""

from __future__ import annotations

import html
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.demo.lines import curves
from lara.demo.page import page, paragraph, section, table
from lara.lams.gather import Family, Number, Table
from lara.lams.plan import Model


def write_report(output: Path, family: Family, models: Sequence[Model], done: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes all three below `output`."""
    (output / "lams.json").write_text(json.dumps(family.json(), indent=1, allow_nan=False) + "\n")
    (output / "lams.md").write_text(markdown(family))
    (output / "lams.html").write_text(_page(family, models, done))


def markdown(family: Family) -> str:
    """The whole report as a document; ends with a newline."""
    lines = [
        "# Latent action models side by side",
        "",
        _conditions(family),
        "",
        "```",
        family.about["command"],
        "```",
        "",
    ]
    for one in family.tables:
        lines += [f"## {one.title}", "", one.note, ""]
        lines += [f"| | {' | '.join(one.columns)} |", "|---" * (1 + len(one.columns)) + "|"]
        lines += [f"| {name} | {' | '.join(shown(cell, one.digits) for cell in cells)} |" for name, cells in one.rows]
        lines.append("")
    for label, reasons in family.reasons.items():
        lines += [f"- {label}, {probe} does not apply: {reason}" for probe, reason in reasons.items()]
    return "\n".join(lines).rstrip() + "\n"


def shown(cell: tuple[Number, ...], digits: int) -> str:
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


def _page(family: Family, models: Sequence[Model], done: Mapping[str, Mapping[str, Any]]) -> str:
    body = [
        "<h1>Latent action models side by side</h1>",
        paragraph(html.escape(_conditions(family))),
        paragraph(f"<code>{html.escape(family.about['command'])}</code>"),
        *(_section(one, family.about["horizons"]) for one in family.tables),
    ]
    if family.reasons:
        rows = [
            [html.escape(label), html.escape(probe), html.escape(reason)]
            for label, reasons in family.reasons.items()
            for probe, reason in reasons.items()
        ]
        body.append(section("Probes that do not apply", table(["model", "probe", "reason"], rows)))
    ran = [
        [f"<code>{html.escape(step.command)}</code>", f"{done[step.name]['seconds']:.0f} s"]
        for model in models
        for step in (model.train, model.probe)
    ]
    body.append(section("What was run", table(["command", "took"], ran, numbers=[1])))
    return page("lara lams", body)


def _section(one: Table, horizons: Sequence[int]) -> str:
    rows = [[html.escape(name), *(shown(cell, one.digits) for cell in cells)] for name, cells in one.rows]
    pieces = [table(["", *one.columns], rows, numbers=range(1, 1 + len(one.columns)))]
    if one.by_horizon:
        lines = {
            name: (horizons, [_mean(cell) for cell in cells])
            for name, cells in one.rows
            if "another's latent" not in name and all(_mean(cell) is not None for cell in cells)
        }
        pieces.insert(0, curves([(one.title, lines)], "steps"))
    return section(one.title, *pieces, paragraph(html.escape(one.note), soft=True))


def _mean(cell: tuple[Number, ...]) -> Any:
    numbers = [n for n in cell if n is not None]
    return statistics.fmean(numbers) if numbers and len(numbers) == len(cell) else None
