"""The work list: fixed before anything runs, named by a hash of everything that decides a label."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.errors import ConfigError, DataError
from lara.store.records import read_json, write_json

FORMAT = 1
PLAN = "plan.json"


def units_of(lengths: Sequence[int], frames: int) -> tuple[tuple[int, int], ...]:
    """Runs of whole episodes with at least `frames` frames each (the last may have fewer): (first, one past)."""
    if frames < 1:
        raise ConfigError(f"label.shard_frames is at least 1, got {frames}")
    units, first, count = [], 0, 0
    for k, length in enumerate(lengths):
        count += length
        if count >= frames:
            units.append((first, k + 1))
            first, count = k + 1, 0
    if first < len(lengths):
        units.append((first, len(lengths)))
    return tuple(units)


def plan_hash(*, lam: str, weights: str, fingerprint: str, settings: Mapping[str, Any], lengths: Sequence[int]) -> str:
    """sha256 over the LAM's manifest, which of its weights, the pixels, the settings and the episodes.

    settings: everything that can change a bit of a label, or the shape of the table; not how many workers there are.
    """
    everything = {
        "format": FORMAT,
        "lam": lam,
        "weights": weights,
        "dataset": fingerprint,
        "settings": dict(settings),
        "lengths": list(lengths),
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def keep_plan(work: Path, about: Mapping[str, Any]) -> None:
    """Writes <work>/plan.json, or checks that the one there is the same plan.

    Raises ConfigError when the folder holds unfinished work of another plan: labels of two models or settings must
    never meet in one table, and what was done must not be thrown away unasked.
    """
    path = work / PLAN
    if path.exists():
        known = read_json(path, DataError)
        if known.get("plan") != about["plan"]:
            different = sorted(k for k in {*known, *about} if known.get(k) != about.get(k) and k != "plan")
            raise ConfigError(
                f"{work} holds unfinished labels of another plan (it differs in {', '.join(different)}); finish them "
                "with the same LAM, data and settings, or delete the folder"
            )
        return
    write_json(path, dict(about))
