"""report.html of a finished demo. Every number comes from its summary or from a file that a step wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lara.pages.blocks import (
    Bar,
    Block,
    Charts,
    Code,
    Figures,
    Inline,
    Note,
    Page,
    Picture,
    Row,
    Section,
    Strong,
    Subheading,
    Table,
    Text,
    Video,
)
from lara.pages.charts import Panel, draw
from lara.runs.book import Book
from lara.runs.plan import Plan
from lara.studies.demo import EVALUATIONS
from lara.studies.demo_summary import HEALTH
from lara.studies.lam_view import LamView
from lara.studies.metrics import metric_line
from lara.studies.what_ran import machine, what_ran

LABELS = {
    "lara": "LARA",
    "dit_only": "DiT-only",
    "wrong_instruction": "control: DiT-only, given another task's instruction",
    "blind": "control: no camera",
}
COLOURS = {"lara": "ours", "dit_only": "reference", "wrong_instruction": "control", "blind": "control"}


def page(
    output: Path,
    config: Mapping[str, Any],
    plan: Plan,
    book: Book,
    summary: Mapping[str, Any],
    views: Mapping[str, LamView],
) -> Page:
    """The whole page.

    Args:
        output: The demo's folder.
        config: conf/demo.yaml, resolved.
        plan: What was run.
        book: What each step took.
        summary: The content of summary.json.
        views: Run -> what its LAM sees.
    """
    tasks = config["tasks"]
    lead = Text(
        f"{config['demonstrations']} demonstrations of each of {len(tasks)} simulated tasks came from scripted experts "
        "that are pushed around. A latent action model (LAM) learned from pairs of frames what changed between them. "
        f"Two policies learned from the same data and seed for {config['steps']} steps: DiT-only, and LARA, whose "
        "hidden state is aligned with the LAM's latent while both learn. Each was then rolled out on "
        f"{config['episodes']} goals per task that neither has seen."
    )
    return Page(
        title="lara demo",
        heading="A latent action model and a policy, trained together, then acting",
        lead=[lead],
        sections=[
            _results(summary, tasks),
            _videos(output, tasks),
            _latents(views),
            _training(output),
            _alignment(summary),
            _what_ran(plan, book, config),
        ],
    )


def _results(summary: Mapping[str, Any], tasks: list[str]) -> Section:
    policies = summary["policies"]
    rows: list[list[Inline]] = []
    for name in EVALUATIONS:
        p = policies[name]
        rows.append(
            [
                LABELS[name],
                Bar(rate=p["success_rate"], low=p["low"], high=p["high"], colour=COLOURS[name]),
                f"{100 * p['success_rate']:.1f} %",
                f"{100 * p['low']:.1f} – {100 * p['high']:.1f}",
                *(f"{p['tasks'][t]['successes']}/{p['tasks'][t]['n']}" for t in tasks),
            ]
        )
    against = summary["lara_against_dit_only"]
    verdict = {"A_BETTER": "LARA is better", "B_BETTER": "DiT-only is better"}.get(against["verdict"], "undecided")
    return Section(
        "Success on held-out goals",
        Figures([(f"{100 * policies[n]['success_rate']:.0f} %", LABELS[n]) for n in ("lara", "dit_only", "blind")]),
        Table(
            headers=["policy", "", "success", "95 % interval", *(t.removesuffix("-v3") for t in tasks)],
            rows=rows,
            numeric=range(2, 4 + len(tasks)),
            muted=(2, 3),
        ),
        Text(
            f"LARA against DiT-only on the same episodes: {100 * against['difference']:+.1f} points "
            f"[{100 * against['difference_low']:+.1f}, {100 * against['difference_high']:+.1f}], exact paired test "
            f"p\u00a0=\u00a0{against['p_exact']:.2g}: ",
            Strong(verdict),
            ".",
        ),
        Note(
            "The lines on the bars are Wilson intervals. The controls say what a number is worth: one policy is given "
            "another task's instruction, the other was trained and run without any camera. Fast renders on a protocol "
            "of this project: not comparable to published numbers."
        ),
    )


def _videos(output: Path, tasks: list[str]) -> Section:
    blocks: list[Block] = []
    for name in ("lara", "dit_only"):
        films = rollouts(output / f"eval_{name}" / "videos", tasks)
        blocks += [Subheading(LABELS[name]), films] if films.items else []
    return Section("Roll-outs", *blocks, Note("The first success and the first failure of each task."))


def rollouts(folder: Path, tasks: list[str]) -> Row:
    """The first success and the first failure of each task that was filmed."""
    return Row(
        [
            Video(path=film, caption=f"{task.removesuffix('-v3')}: {outcome}")
            for task in tasks
            for outcome in ("success", "failure")
            for film in sorted(folder.glob(f"{task}_{outcome}_*.mp4"))[:1]
        ]
    )


def _latents(views: Mapping[str, LamView]) -> Section:
    named = (("after stage 1 (LAM alone)", views["lam"]), ("after joint training (LARA)", views["lara"]))
    rows = [
        [
            name,
            f"{v.psnr:.2f} dB",
            f"{v.psnr - v.psnr_copy:+.2f} dB",
            f"{v.psnr - v.psnr_other_latent:+.2f} dB",
            f"{v.perplexity:.1f}",
            f"{v.codes_used} / {v.codes}",
        ]
        for name, v in named
    ]
    headers = ["", "prediction (PSNR)", "above copying the frame", "above another pair's latent"]
    return Section(
        "What the latent action model sees",
        Picture(
            png=views["lara"].picture,
            caption="Each column is a held-out pair. From above: now; the future; the future predicted from "
            "now and the quantised latent; the true change; the predicted change (grey = none).",
            pixels=True,
        ),
        Table(headers=[*headers, "codebook perplexity", "codes used"], rows=rows, numeric=range(1, 6)),
        Note(
            f"Over {views['lara'].pairs} frame pairs of held-out episodes. If another pair's latent predicted as "
            "well, the decoder would not be listening."
        ),
    )


def _training(output: Path) -> Section:
    lara, dit, blind, lam = (output / n for n in ("lara", "dit_only", "blind", "lam"))

    def losses(key: str) -> list[Any]:
        return [
            metric_line("LARA", lara, key, "ours"),
            metric_line("DiT-only", dit, key, "reference"),
            metric_line("no camera", blind, key, "control"),
        ]

    def stages(key: str) -> list[Any]:
        return [metric_line("stage 1", lam, key, "control"), metric_line("joint", lara, key, "ours")]

    health = [
        metric_line("cosine", lara, "align.cosine", "ours"),
        metric_line("centred cosine", lara, "align.centred_cosine", "reference"),
        metric_line("between different z", lara, "align.common_z", "ink", "dotted"),
        metric_line("retrieval", lara, "align.retrieval", "green"),
    ]
    copying = metric_line("copying the frame", lam, "lam.psnr_copy", "ink", "dotted")
    panels = [
        Panel(title="action loss, training", lines=losses("action"), log=True),
        Panel(title="action loss, held-out episodes", lines=losses("validation/action")),
        Panel(title="LAM reconstruction loss", lines=stages("lam.reconstruction"), log=True),
        Panel(title="LAM prediction, PSNR in dB", lines=[*stages("lam.psnr"), copying]),
        Panel(title="codebook perplexity of a batch", lines=stages("lam.perplexity")),
        Panel(title="alignment: cosine and its health", lines=health),
    ]
    return Section("Training", Charts(draw(panels)))


def _alignment(summary: Mapping[str, Any]) -> Section:
    values = summary["alignment"]
    rows: list[list[Inline]] = [
        [Code(key), text, "not measured" if values[key] is None else f"{values[key]:.2f}"]
        for key, text in HEALTH.items()
    ]
    return Section(
        "Is the alignment real?",
        Text(
            "A cosine near 1 proves nothing by itself: both sides may have agreed on one common direction. It is real "
            "as far as the centred cosine and the retrieval are high while different samples' latents differ."
        ),
        Table(headers=["figure", "meaning", "end of training"], rows=rows, numeric=[2]),
    )


def _what_ran(plan: Plan, book: Book, config: Mapping[str, Any]) -> Section:
    here = machine()
    note = Note(
        f"{here['cores']} cores ({here['processor']}), Python {here['python']}, {config['workers']} trainings side by "
        "side with one thread each. The results of this page are also in summary.json, the seconds in cost.json."
    )
    return what_ran(plan.steps, book, note)
