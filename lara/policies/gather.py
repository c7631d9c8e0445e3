"""What roll-outs, trainings and timings wrote -> one record. Nothing is measured here."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.evaluation.compare import compare
from lara.policies.plan import USE, Entry

_PAIRED = ("difference", "difference_low", "difference_high", "p_exact", "verdict", "pairs")


def gather(
    entries: Sequence[Entry],
    config: Mapping[str, Any],
    *,
    done: Mapping[str, Mapping[str, Any]],
    flops: Mapping[str, float],
    latency: Mapping[str, Mapping[str, float]],
    command: str,
) -> dict[str, Any]:
    """JSON-ready: {"about", "policies": [...], "interventions": [...]}.

    done: of the runner, for the seconds. flops, latency: by entry's name. A policy's "against" is None for the
    reference itself and where there is none. Raises ConfigError when two roll-outs are of different protocols,
    DataError when one is incomplete.
    """
    references = {e.seed: e for e in entries if e.label == config["reference"]}
    policies, interventions = [], []
    for entry in entries:
        reference = references.get(entry.seed)
        other = None if reference is None or reference is entry else reference.folders[USE]
        policies.append(
            {
                "policy": entry.label,
                "seed": entry.seed,
                **_success(entry.folders[USE]),
                "against": None if other is None else _paired(entry.folders[USE], other),
                "training": {
                    "seconds": round(done[entry.name]["seconds"], 1),
                    "resumed": done[entry.name].get("resumed", False),
                    "samples": entry.samples,
                    "flops": flops[entry.name],
                    "stages": {name: c["stage"]["steps"] for name, c in entry.stages.items()},
                    "labels": entry.labels,
                },
                "acting": dict(latency[entry.name]),
            }
        )
        for use, folder in entry.folders.items():
            if use != USE:
                row = {"policy": entry.label, "seed": entry.seed, "latents": use, **_success(folder)}
                interventions.append({**row, "against": _paired(folder, entry.folders[USE])})
    return {
        "about": {
            "command": command,
            "data": str(config["root"]),
            "reference": config["reference"],
            "tasks": list(config["tasks"]),
            "episodes": config["episodes"],
            "seeds": list(config["seeds"]),
            "protocol": policies[0]["protocol"],
            "machine": {
                "processor": platform.processor() or platform.machine(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "side by side": config["workers"],
                "threads": config["threads"],
            },
        },
        "policies": policies,
        "interventions": interventions,
    }


def _success(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
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
