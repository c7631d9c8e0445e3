"""summary.json and report.html from a finished demo. Every number comes from a file that a step wrote."""

from __future__ import annotations

import html
import json
import os
import platform
from pathlib import Path
from typing import Any

from lara.demo.curves import Panel, draw, read_metric
from lara.demo.lam_view import LamReport, look
from lara.demo.page import bar, numbers, page, paragraph, picture, row, section, table, video
from lara.demo.run import EVALUATIONS, Plan
from lara.evaluation.compare import compare

LABELS = {
    "lara": "LARA",
    "dit_only": "DiT-only",
    "wrong_instruction": "control: DiT-only, told the wrong task",
    "blind": "control: no camera",
}
COLOURS = {"lara": "#d9730d", "dit_only": "#2463eb", "wrong_instruction": "#9aa3b2", "blind": "#9aa3b2"}
HEALTH = {
    "align.cosine": "cosine of z and f(h), as in the loss",
    "align.centred_cosine": "the same after the batch mean of each side is removed",
    "align.common_z": "mean cosine between z of DIFFERENT samples (near 1: all latents are one vector)",
    "align.common_p": "the same for f(h)",
    "align.rank_z": "effective number of dimensions of z in a batch",
    "align.retrieval": "share of samples whose f(h) finds its own z in the batch (chance: 1 / samples seen)",
}


def write_report(output: Path, config: dict[str, Any], plan: Plan, done: dict[str, dict]) -> dict[str, Any]:
    """Writes <output>/summary.json and <output>/report.html; returns the summary."""
    lam = look(output / "demo_lara")
    first = look(output / "demo_lam")
    summary = summarise(output, config, done, lam, first)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    (output / "report.html").write_text(_page(output, config, plan, done, summary, lam, first))
    return summary


def summarise(
    output: Path, config: dict[str, Any], done: dict[str, dict], lam: LamReport, first: LamReport
) -> dict[str, Any]:
    """The numbers of the page, for programs."""
    policies = {}
    for name in EVALUATIONS:
        run = json.loads((output / f"eval_{name}" / "summary.json").read_text())
        overall = run["overall"]
        policies[name] = {
            "success_rate": overall["rate"],
            "low": overall["low"],
            "high": overall["high"],
            "successes": overall["successes"],
            "episodes": overall["n"],
            "protocol": run["protocol"],
            "tasks": {task: {k: r[k] for k in ("rate", "successes", "n")} for task, r in run["tasks"].items()},
        }
    paired = compare(output / "eval_lara", output / "eval_dit_only")
    health = {key: _last(output / "demo_lara", key) for key in HEALTH}
    return {
        "policies": policies,
        "lara_against_dit_only": {
            k: paired[k] for k in ("difference", "difference_low", "difference_high", "p_exact", "verdict")
        },
        "lam": {
            "psnr": lam.psnr,
            "psnr_copy": lam.psnr_copy,
            "psnr_other_latent": lam.psnr_other,
            "perplexity": lam.perplexity,
            "codes_used": lam.used,
            "codes": lam.codes,
            "pairs": lam.pairs,
        },
        "lam_after_stage_1": {
            "psnr": first.psnr,
            "psnr_copy": first.psnr_copy,
            "psnr_other_latent": first.psnr_other,
            "perplexity": first.perplexity,
        },
        "alignment": health,
        "seconds": {name: round(step["seconds"], 1) for name, step in done.items()},
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "config": config,
    }


def _page(
    output: Path,
    config: dict[str, Any],
    plan: Plan,
    done: dict[str, dict],
    summary: dict[str, Any],
    lam: LamReport,
    first: LamReport,
) -> str:
    tasks = config["tasks"]
    return page(
        "lara demo",
        [
            "<h1>A latent action model and a policy, trained together, then acting</h1>",
            paragraph(
                f"{config['demonstrations']} demonstrations of each of {len(tasks)} Meta-World tasks came from "
                "scripted experts that are pushed around. A latent action model (LAM) learned from frame pairs what "
                f"changed. Two policies learned from the same data and seed for {config['steps']} steps: DiT-only, and "
                "LARA, whose hidden state is aligned with the LAM's latent while both learn. Each was then rolled out "
                f"on {config['episodes']} goals per task that neither has seen."
            ),
            _results(summary, tasks),
            _videos(output, tasks),
            _latents(output, lam, first),
            _training(output),
            _alignment(summary),
            _what_ran(plan, done, summary),
        ],
    )


def _results(summary: dict[str, Any], tasks: list[str]) -> str:
    policies = summary["policies"]
    big = numbers([(LABELS[n], f"{100 * policies[n]['success_rate']:.0f} %") for n in ("lara", "dit_only", "blind")])
    rows = []
    for name in EVALUATIONS:
        p = policies[name]
        rows.append(
            [
                html.escape(LABELS[name]),
                bar(p["success_rate"], p["low"], p["high"], COLOURS[name]),
                f"{100 * p['success_rate']:.1f} %",
                f"{100 * p['low']:.1f} – {100 * p['high']:.1f}",
                *(f"{p['tasks'][t]['successes']}/{p['tasks'][t]['n']}" for t in tasks),
            ]
        )
    against = summary["lara_against_dit_only"]
    verdict = {"A_BETTER": "LARA is better", "B_BETTER": "DiT-only is better"}.get(against["verdict"], "undecided")
    return section(
        "Success on held-out goals",
        big,
        table(
            ["policy", "", "success", "95 % interval", *(t.removesuffix("-v3") for t in tasks)],
            rows,
            numbers=range(2, 4 + len(tasks)),
        ),
        paragraph(
            f"LARA against DiT-only on the same episodes: {100 * against['difference']:+.1f} points "
            f"[{100 * against['difference_low']:+.1f}, {100 * against['difference_high']:+.1f}], exact paired test "
            f"p = {against['p_exact']:.2g}: <strong>{verdict}</strong>."
        ),
        paragraph(
            "The lines on the bars are Wilson intervals. The controls say what a number is worth: the first hears "
            "another task's instruction, the second was trained and run without any camera. Fast renders on a house "
            "protocol: not comparable to published numbers.",
            soft=True,
        ),
    )


def _videos(output: Path, tasks: list[str]) -> str:
    pieces = []
    for name in ("lara", "dit_only"):
        figures = []
        for task in tasks:
            for outcome in ("success", "failure"):
                found = sorted((output / f"eval_{name}" / "videos").glob(f"{task}_{outcome}_*.mp4"))
                figures += [video(f, f"{task.removesuffix('-v3')}: {outcome}") for f in found[:1]]
        pieces += [f"<h3>{LABELS[name]}</h3>", row(figures)]
    return section("Roll-outs", *pieces, paragraph("The first success and the first failure of each task.", soft=True))


def _latents(output: Path, lam: LamReport, first: LamReport) -> str:
    rows = [
        [
            name,
            f"{r.psnr:.2f} dB",
            f"{r.psnr - r.psnr_copy:+.2f} dB",
            f"{r.psnr - r.psnr_other:+.2f} dB",
            f"{r.perplexity:.1f}",
            f"{r.used} / {r.codes}",
        ]
        for name, r in (("after stage 1 (LAM alone)", first), ("after joint training (LARA)", lam))
    ]
    return section(
        "What the latent action model sees",
        picture(
            lam.sheet,
            "Each column is a held-out pair. From above: now; the future; the future predicted from now and the "
            "quantised latent; the true change; the predicted change (grey = none).",
            pixels=True,
        ),
        table(
            [
                "",
                "prediction (PSNR)",
                "against copying the frame",
                "against another pair's latent",
                "codebook perplexity",
                "codes used",
            ],
            rows,
            numbers=range(1, 6),
        ),
        paragraph(
            f"Over {lam.pairs} frame pairs of held-out episodes. If another pair's latent predicted as well, the "
            "decoder would not be listening.",
            soft=True,
        ),
    )


def _training(output: Path) -> str:
    lara, dit, blind, lam = (output / f"demo_{n}" for n in ("lara", "dit_only", "blind", "lam"))
    o, b, g = COLOURS["lara"], COLOURS["dit_only"], "#9aa3b2"
    panels = [
        Panel(
            title="action loss, training",
            lines={
                "LARA": (lara, "action", o, "-"),
                "DiT-only": (dit, "action", b, "-"),
                "no camera": (blind, "action", g, "-"),
            },
            log=True,
        ),
        Panel(
            title="action loss, held-out episodes",
            lines={
                "LARA": (lara, "validation/action", o, "-"),
                "DiT-only": (dit, "validation/action", b, "-"),
                "no camera": (blind, "validation/action", g, "-"),
            },
        ),
        Panel(
            title="LAM reconstruction loss",
            lines={"stage 1": (lam, "lam.reconstruction", g, "-"), "joint": (lara, "lam.reconstruction", o, "-")},
            log=True,
        ),
        Panel(
            title="LAM prediction, PSNR in dB",
            lines={
                "stage 1": (lam, "lam.psnr", g, "-"),
                "joint": (lara, "lam.psnr", o, "-"),
                "copying the frame": (lam, "lam.psnr_copy", "#1d2330", ":"),
            },
        ),
        Panel(
            title="codebook perplexity (batch)",
            lines={"stage 1": (lam, "lam.perplexity", g, "-"), "joint": (lara, "lam.perplexity", o, "-")},
        ),
        Panel(
            title="alignment: cosine and its health",
            lines={
                "cosine": (lara, "align.cosine", o, "-"),
                "centred cosine": (lara, "align.centred_cosine", b, "-"),
                "between different z": (lara, "align.common_z", "#1d2330", ":"),
                "retrieval": (lara, "align.retrieval", "#2a9d5c", "-"),
            },
        ),
    ]
    return section("Training", draw(panels))


def _alignment(summary: dict[str, Any]) -> str:
    rows = [[f"<code>{k}</code>", html.escape(text), _number(summary["alignment"][k])] for k, text in HEALTH.items()]
    return section(
        "Is the alignment real?",
        paragraph(
            "A cosine near 1 proves nothing by itself: both sides may have agreed on one common direction. It is real "
            "as far as the centred cosine and the retrieval are high while different samples' latents differ."
        ),
        table(["figure", "meaning", "end of training"], rows, numbers=[2]),
    )


def _what_ran(plan: Plan, done: dict[str, dict], summary: dict[str, Any]) -> str:
    rows = [[f"<code>{html.escape(s.command)}</code>", f"{done[s.name]['seconds']:.0f} s"] for s in plan.steps]
    machine = summary["machine"]
    return section(
        "What was run",
        table(["command", "took"], rows, numbers=[1]),
        paragraph(
            f"{machine['cores']} cores ({html.escape(machine['processor'])}), Python {machine['python']}. Trainings "
            "ran two side by side, one thread each. All numbers of this page are also in summary.json.",
            soft=True,
        ),
    )


def _last(run: Path, key: str) -> float | None:
    """Mean of the last fifth of a metric's logged values; None where it was never logged."""
    _, values = read_metric(run, key)
    tail = values[-max(1, len(values) // 5) :]
    return sum(tail) / len(tail) if tail else None


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"
