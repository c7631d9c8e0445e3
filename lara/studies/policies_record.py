"""What roll-outs, trainings and timings wrote -> one record. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.errors import DataError
from lara.evaluation.compare import compare
from lara.runs.book import Book
from lara.store.records import read_json
from lara.studies.policies import USE, Candidate
from lara.studies.what_ran import machine

_PAIRED = ("difference", "difference_low", "difference_high", "p_exact", "verdict", "pairs")


def gather(
    candidates: Sequence[Candidate],
    config: Mapping[str, Any],
    *,
    book: Book,
    flops: Mapping[str, float],
    latency: Mapping[str, Mapping[str, float]],
    command: str,
) -> dict[str, Any]:
    """The record of a finished study.

    Args:
        candidates: In the order of their rows.
        config: conf/policies.yaml, resolved.
        book: What each step took.
        flops, latency: By training's name.
        command: As it was typed.

    Returns:
        JSON-ready: {"about", "policies": [...], "interventions": [...]}. "policy" is a key, "label" what is read. A
        policy's "against" is None for the reference itself and where there is none.

    Raises:
        ConfigError: Two roll-outs are of different protocols.
        DataError: A roll-out is incomplete.
    """
    references = {c.seed: c for c in candidates if c.entry.text == config["reference"]}
    policies, interventions = [], []
    for candidate in candidates:
        name = {"policy": candidate.entry.key, "label": candidate.entry.label, "seed": candidate.seed}
        reference = references.get(candidate.seed)
        other = None if reference is None or reference is candidate else reference.folders[USE]
        own = candidate.folders[USE]
        policies.append(
            {
                **name,
                **_success(own),
                "against": None if other is None else _paired(own, other),
                "training": _training(candidate, book, flops),
                "acting": dict(latency[candidate.training.name]),
            }
        )
        interventions += [
            {**name, "latents": use, **_success(folder), "against": _paired(folder, own)}
            for use, folder in candidate.folders.items()
            if use != USE
        ]
    return {
        "about": _about(config, list(references.values()), policies, command),
        "policies": policies,
        "interventions": interventions,
    }


def _about(
    config: Mapping[str, Any], references: Sequence[Candidate], policies: Sequence[Mapping[str, Any]], command: str
) -> dict[str, Any]:
    return {
        "command": command,
        "data": str(config["root"]),
        "reference": references[0].entry.key if references else None,
        "reference_label": references[0].entry.label if references else None,
        "tasks": list(config["tasks"]),
        "episodes": config["episodes"],
        "seeds": list(config["seeds"]),
        "protocol": policies[0]["protocol"],
        "machine": {**machine(), "side by side": config["workers"], "threads": config["threads"]},
    }


def _training(candidate: Candidate, book: Book, flops: Mapping[str, float]) -> dict[str, Any]:
    took = book[candidate.training]
    return {
        "seconds": round(took.seconds, 1),
        "whole": took.whole,
        "samples": candidate.samples,
        "flops": flops[candidate.training.name],
        "stages": {name: c["stage"]["steps"] for name, c in candidate.stages.items()},
        "labels": candidate.labels,
    }


def _success(folder: Path) -> dict[str, Any]:
    summary = read_json(folder / "summary.json", DataError)
    overall = summary["overall"]
    return {
        "success": {key: overall[key] for key in ("rate", "low", "high", "successes", "n")},
        "tasks": {task: {key: row[key] for key in ("successes", "n")} for task, row in summary["tasks"].items()},
        "protocol": summary["protocol"],
        "seconds": summary["wall_seconds"],
    }


def _paired(one: Path, other: Path) -> dict[str, Any]:
    found = compare(one, other)
    return {key: found[key] for key in _PAIRED}
