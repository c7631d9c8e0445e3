"""The demo's numbers, for programs. Each comes from a file that a step wrote, or from looking at its LAM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lara.errors import DataError
from lara.evaluation.compare import compare
from lara.runs.book import Book
from lara.runs.plan import Plan
from lara.store.records import read_json
from lara.studies.demo import EVALUATIONS
from lara.studies.lam_view import LamView
from lara.studies.metrics import tail_mean
from lara.studies.what_ran import machine

HEALTH = {
    "align.cosine": "cosine of z and f(h), as in the loss",
    "align.centred_cosine": "the same after the batch mean of each side is removed",
    "align.common_z": "mean cosine between z of DIFFERENT samples (near 1: all latents are one vector)",
    "align.common_p": "the same for f(h)",
    "align.rank_z": "effective number of dimensions of z in a batch",
    "align.retrieval": "share of samples whose f(h) finds its own z in the batch (chance: 1 / samples seen)",
}
RESULTS_ALONE = ("output", "minutes", "workers")  # settings that no number depends on


def summarise(output: Path, config: Mapping[str, Any], views: Mapping[str, LamView]) -> dict[str, Any]:
    """The content of summary.json: nothing in it depends on the clock, the machine's load or the folder's name.

    Args:
        output: The demo's folder, everything finished.
        config: conf/demo.yaml, resolved.
        views: Run -> what its LAM sees.
    """
    paired = compare(output / "eval_lara", output / "eval_dit_only")
    return {
        "policies": {name: _success(output / f"eval_{name}") for name in EVALUATIONS},
        "lara_against_dit_only": {
            k: paired[k] for k in ("difference", "difference_low", "difference_high", "p_exact", "verdict")
        },
        "lam": views["lara"].numbers(),
        "lam_after_stage_1": views["lam"].numbers(),
        "alignment": {key: tail_mean(output / "lara", key) for key in HEALTH},
        "config": {key: value for key, value in config.items() if key not in RESULTS_ALONE},
    }


def cost(plan: Plan, book: Book, *, workers: int) -> dict[str, Any]:
    """The content of cost.json: seconds of each step over all attempts, whether they are all, and the machine."""
    return {
        "seconds": {step.name: round(book[step].seconds, 1) for step in plan.steps},
        "incomplete": [step.name for step in plan.steps if not book[step].whole],
        "machine": {**machine(), "trainings side by side": workers},
    }


def _success(folder: Path) -> dict[str, Any]:
    run = read_json(folder / "summary.json", DataError)
    overall = run["overall"]
    return {
        "success_rate": overall["rate"],
        "low": overall["low"],
        "high": overall["high"],
        "successes": overall["successes"],
        "episodes": overall["n"],
        "protocol": run["protocol"],
        "tasks": {task: {k: r[k] for k in ("rate", "successes", "n")} for task, r in run["tasks"].items()},
    }
