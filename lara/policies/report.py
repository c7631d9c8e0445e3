"""policies.md, policies.json and policies.html: the same tables three times, the page with roll-outs to watch."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.demo.page import bar, page, paragraph, row, section, table, video
from lara.evaluation.tables import interval, markdown_table, percent
from lara.policies.plan import USE, Entry

COLOUR, GREY = "#d9730d", "#2463eb"
PAIRED = (
    " Differences in points on the same episodes, with Newcombe's paired interval and the exact McNemar test. One "
    "training each: what another seed would give is in no interval."
)
COST = (
    "Minutes are of the whole training command, labelling and start-up included (≥: it was interrupted and went on, "
    "this is the last part). TFLOP are counted over a traced step, forward and backward, times the steps (labelling is "
    "not in them). A chunk is timed from an observation to actions in robot units, one thread, all policies in turns."
)
LATENTS = {
    "freeze": "frozen: they stay the noise that they start from",
    "block": "blocked: actions and state do not see them",
    "shuffle": "shuffled: actions see them in a random order of steps",
}


def write_report(
    output: Path, record: Mapping[str, Any], entries: Sequence[Entry], done: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes all three below `output`."""
    (output / "policies.json").write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    (output / "policies.md").write_text(markdown(record))
    (output / "policies.html").write_text(_page(record, entries, done))


def markdown(record: Mapping[str, Any]) -> str:
    """The whole report as a document; ends with a newline."""
    pieces = ["# Policies side by side", "", _conditions(record), "", f"```\n{record['about']['command']}\n```", ""]
    for title, headers, rows, note in _tables(record):
        pieces += [f"## {title}", "", markdown_table(headers, rows), note, ""]
    return "\n".join(pieces).rstrip() + "\n"


def _tables(record: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]], str]]:
    """(title, headers, rows, note) of every table."""
    about, policies = record["about"], record["policies"]
    reference = about["reference"]
    tasks = [t.removesuffix("-v3") for t in about["tasks"]]
    paired = [f"− {reference}", "its 95 % interval", "p"] if reference else []
    success = [
        [
            _name(p, about),
            *_rate(p),
            *(_against(p["against"]) if reference else []),
            *(f"{p['tasks'][t]['successes']}/{p['tasks'][t]['n']}" for t in about["tasks"]),
        ]
        for p in policies
    ]
    cost = [
        [
            _name(p, about),
            ("≥ " if p["training"]["resumed"] else "") + f"{p['training']['seconds'] / 60:.1f}",
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
    found = [
        (
            "Success on held-out goals",
            ["policy", "%", "95 % interval", *paired, *tasks],
            success,
            f"Wilson intervals over {policies[0]['success']['n']} episodes." + (PAIRED if reference else ""),
        ),
        (
            "What it costs",
            [
                *("policy", "training, min", "samples", "TFLOP", "steps of optimisation"),
                *("M parameters to act", "ms per chunk", "quartiles", f"x {_name(policies[0], about)}"),
            ],
            cost,
            COST,
        ),
    ]
    if record["interventions"]:
        rows = [
            [_name(p, about), LATENTS.get(p["latents"], p["latents"]), *_rate(p), *_against(p["against"])]
            for p in record["interventions"]
        ]
        found.append(
            (
                "What the generated latents are worth to the actions",
                ["policy", "its latents", "%", "95 % interval", "− untouched", "its 95 % interval", "p"],
                rows,
                "The same checkpoint and episodes, with the latents spoiled while it acts.",
            )
        )
    return found


def _name(row_of: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    return row_of["policy"] + (f", seed {row_of['seed']}" if len(about["seeds"]) > 1 else "")


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


def _page(record: Mapping[str, Any], entries: Sequence[Entry], done: Mapping[str, Mapping[str, Any]]) -> str:
    body = [
        "<h1>Policies side by side</h1>",
        paragraph(html.escape(_conditions(record))),
        paragraph(f"<code>{html.escape(record['about']['command'])}</code>"),
    ]
    kinds = ["policies", None, "interventions"]  # which rates are drawn beside which table
    for kind, (title, headers, rows, note) in zip(kinds, _tables(record), strict=False):
        cells = [[html.escape(cell) for cell in line] for line in rows]
        texts = 2 if kind == "interventions" else 1
        if kind is not None:
            headers = [*headers[:texts], "", *headers[texts:]]
            colours = [GREY if p["policy"] == record["about"]["reference"] else COLOUR for p in record[kind]]
            rates = [p["success"] for p in record[kind]]
            cells = [
                [*line[:texts], bar(s["rate"], s["low"], s["high"], colour), *line[texts:]]
                for line, s, colour in zip(cells, rates, colours, strict=True)
            ]
            texts += 1
        drawn = table(headers, cells, numbers=range(texts, len(headers)))
        body.append(
            section(title, f'<div style="overflow-x:auto">{drawn}</div>', paragraph(html.escape(note), soft=True))
        )
    body.append(_videos(record, entries))
    steps = [step for entry in entries for step in entry.chain.steps]
    ran = [[f"<code>{html.escape(s.command)}</code>", f"{done[s.name]['seconds']:.0f} s"] for s in steps]
    body.append(section("What was run", table(["command", "took"], ran, numbers=[1])))
    return page("lara policies", [piece for piece in body if piece])


def _videos(record: Mapping[str, Any], entries: Sequence[Entry]) -> str:
    """The first success and failure of each task, of every policy; "" where nothing was filmed."""
    pieces = []
    for entry, policy in zip(entries, record["policies"], strict=True):
        films = [
            video(film, f"{task.removesuffix('-v3')}: {outcome}")
            for task in record["about"]["tasks"]
            for outcome in ("success", "failure")
            for film in sorted((entry.folders[USE] / "videos").glob(f"{task}_{outcome}_*.mp4"))[:1]
        ]
        if films:
            pieces += [f"<h3>{html.escape(_name(policy, record['about']))}</h3>", row(films)]
    return section("Roll-outs", *pieces) if pieces else ""
