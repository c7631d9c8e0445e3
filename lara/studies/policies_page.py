"""The record of `lara policies` as a document and as a page with roll-outs to watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lara.evaluation.tables import interval, markdown_table, percent
from lara.pages.blocks import Bar, Block, Code, Note, Page, Section, Subheading, Table, Text
from lara.runs.book import Book
from lara.runs.plan import Step
from lara.studies.demo_page import rollouts
from lara.studies.policies import USE, Candidate
from lara.studies.what_ran import what_ran

PAIRED = (
    " Differences in points on the same episodes, with Newcombe's paired interval and the exact McNemar test. One "
    "training each: what another seed would give is in no interval."
)
COST = (
    "Minutes are of the whole training command over all attempts, labelling and start-up included (≥: an attempt that "
    "was killed is missing). TFLOP are counted over a traced step, forward and backward, times the steps (labelling is "
    "not in them). A chunk is timed from an observation to actions in robot units, one thread, all policies in turns."
)
LATENTS = {
    "freeze": "frozen: they stay the noise that they start from",
    "block": "blocked: actions and state do not see them",
    "shuffle": "shuffled: actions see them in a random order of steps",
}


@dataclass(frozen=True, kw_only=True)
class _Table:
    """texts: how many columns from the left are words. rates: (rate, low, high, colour) to draw after them, per row."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    note: str
    texts: int
    rates: list[Bar]


def markdown(record: Mapping[str, Any]) -> str:
    """The whole report as a document; ends with a newline."""
    pieces = ["# Policies side by side", "", _conditions(record), "", f"```\n{record['about']['command']}\n```", ""]
    for table in _tables(record):
        pieces += [f"## {table.title}", "", markdown_table(table.headers, table.rows), table.note, ""]
    return "\n".join(pieces).rstrip() + "\n"


def page(record: Mapping[str, Any], candidates: Sequence[Candidate], steps: Sequence[Step], book: Book) -> Page:
    """The same with bars and roll-outs, and what was run."""
    films: list[Block] = []
    for candidate, row in zip(candidates, record["policies"], strict=True):
        found = rollouts(candidate.folders[USE] / "videos", record["about"]["tasks"])
        films += [Subheading(_name(row, record["about"])), found] if found.items else []
    sections = [_section(table) for table in _tables(record)]
    sections += [Section("Roll-outs", *films)] if films else []
    return Page(
        title="lara policies",
        heading="Policies side by side",
        lead=[Text(_conditions(record)), Text(Code(record["about"]["command"]))],
        sections=[*sections, what_ran(steps, book)],
    )


def _section(table: _Table) -> Section:
    headers, rows, texts = list(table.headers), [list(row) for row in table.rows], table.texts
    cells: list[list[Any]] = rows
    if table.rates:
        headers.insert(texts, "")
        cells = [[*row[:texts], bar, *row[texts:]] for row, bar in zip(rows, table.rates, strict=True)]
        texts += 1
    drawn = Table(headers=headers, rows=cells, numeric=range(texts, len(headers)))
    return Section(table.title, drawn, Note(table.note))


def _tables(record: Mapping[str, Any]) -> list[_Table]:
    tables = [_success(record), _cost(record)]
    return [*tables, _interventions(record)] if record["interventions"] else tables


def _success(record: Mapping[str, Any]) -> _Table:
    about, policies = record["about"], record["policies"]
    reference = about["reference_label"]
    paired = [f"− {reference}", "its 95 % interval", "p"] if reference else []
    rows = [
        [
            _name(p, about),
            *_rate(p),
            *(_against(p["against"]) if reference else []),
            *(f"{p['tasks'][t]['successes']}/{p['tasks'][t]['n']}" for t in about["tasks"]),
        ]
        for p in policies
    ]
    return _Table(
        title="Success on held-out goals",
        headers=["policy", "%", "95 % interval", *paired, *(t.removesuffix("-v3") for t in about["tasks"])],
        rows=rows,
        note=f"Wilson intervals over {policies[0]['success']['n']} episodes." + (PAIRED if reference else ""),
        texts=1,
        rates=_bars(policies, about),
    )


def _cost(record: Mapping[str, Any]) -> _Table:
    about, policies = record["about"], record["policies"]
    rows = [
        [
            _name(p, about),
            ("" if p["training"]["whole"] else "≥ ") + f"{p['training']['seconds'] / 60:.1f}",
            f"{p['training']['samples']:,}",
            f"{p['training']['flops'] / 1e12:,.0f}",
            _stages(p["training"]),
            f"{p['acting']['parameters'] / 1e6:.2f}",
            f"{p['acting']['median']:.1f}",
            f"{p['acting']['low']:.1f} – {p['acting']['high']:.1f}",
            f"{p['acting']['median'] / policies[0]['acting']['median']:.2f}",
        ]
        for p in policies
    ]
    headers = ["policy", "training, min", "samples", "TFLOP", "optimisation steps"]
    headers += ["M parameters to act", "ms per chunk", "quartiles", f"× {_name(policies[0], about)}"]
    return _Table(title="What it costs", headers=headers, rows=rows, note=COST, texts=1, rates=[])


def _interventions(record: Mapping[str, Any]) -> _Table:
    about, spoiled = record["about"], record["interventions"]
    rows = [
        [_name(p, about), LATENTS.get(p["latents"], p["latents"]), *_rate(p), *_against(p["against"])] for p in spoiled
    ]
    return _Table(
        title="What the generated latents are worth to the actions",
        headers=["policy", "its latents", "%", "95 % interval", "− untouched", "its 95 % interval", "p"],
        rows=rows,
        note="The same checkpoint and episodes, with the latents spoiled while it acts.",
        texts=2,
        rates=_bars(spoiled, about),
    )


def _bars(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> list[Bar]:
    return [
        Bar(
            rate=row["success"]["rate"],
            low=row["success"]["low"],
            high=row["success"]["high"],
            colour="reference" if row["policy"] == about["reference"] else "ours",
        )
        for row in rows
    ]


def _name(row: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    name: str = row["label"] + (f", seed {row['seed']}" if len(about["seeds"]) > 1 else "")
    return name


def _stages(training: Mapping[str, Any]) -> str:
    """ "600 lam + 1500 joint"; of a single training, its steps alone."""
    stages = training["stages"]
    named = " + ".join(f"{steps} {name}" for name, steps in stages.items()) if len(stages) > 1 else None
    return (named or str(*stages.values())) + (", labels" if training["labels"] else "")


def _rate(p: Mapping[str, Any]) -> list[str]:
    s = p["success"]
    return [percent(s["rate"]), interval(s["low"], s["high"])]


def _against(paired: Mapping[str, Any] | None) -> list[str]:
    if paired is None:
        return ["", "", ""]
    low, high = 100 * paired["difference_low"], 100 * paired["difference_high"]
    return [f"{100 * paired['difference']:+.1f}", f"[{low:+.1f}, {high:+.1f}]", f"{paired['p_exact']:.2g}"]


def _conditions(record: Mapping[str, Any]) -> str:
    a, seeds = record["about"], ", ".join(str(s) for s in record["about"]["seeds"])
    machine = a["machine"]
    return (
        f"Trained on {a['data']}, seeds {seeds}; {a['episodes']} held-out goals of each of {len(a['tasks'])} tasks "
        f"(protocol {a['protocol']}). Machine: {machine['cores']} cores ({machine['processor']}), Python "
        f"{machine['python']}, {machine['side by side']} at a time with {machine['threads']} threads."
    )
