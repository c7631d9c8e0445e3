"""Which episodes are held out: decided by each episode's own content, not by where it stands in the dataset."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Split:
    """validation_fraction, max_episodes_per_task: see `split_episodes`."""

    buildable: ClassVar[str] = "data"

    validation_fraction: float = 0.05
    max_episodes_per_task: int | None = None


def split_episodes(
    tasks: Sequence[str],
    fingerprints: Sequence[str],
    *,
    validation_fraction: float,
    seed: int,
    max_episodes_per_task: int | None = None,
) -> tuple[list[int], list[int]]:
    """(training positions, validation positions), ascending, of the given episodes.

    Each task holds out `validation_fraction` of its episodes, rounded, at least one where the task has two or more
    and the fraction is not 0: those with the smallest hash of (seed, task, fingerprint). Equal fingerprints always
    land on the same side, so a duplicated episode never leaks. `max_episodes_per_task` shortens the training side
    only, in hash order: a larger limit contains the smaller one, and validation stays the same. Raises ConfigError.
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise ConfigError(f"validation_fraction must be in [0, 1), got {validation_fraction}")
    if max_episodes_per_task is not None and max_episodes_per_task < 1:
        raise ConfigError(f"max_episodes_per_task must be at least 1 (or null for all), got {max_episodes_per_task}")
    by_task: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, (task, fingerprint) in enumerate(zip(tasks, fingerprints, strict=True)):
        key = hashlib.sha256(f"{seed}\0{task}\0{fingerprint}".encode()).hexdigest()
        by_task[task][key].append(position)
    training: list[int] = []
    validation: list[int] = []
    for groups in by_task.values():
        keys = sorted(groups)
        held = 0
        if validation_fraction > 0 and len(keys) > 1:
            held = min(max(round(validation_fraction * len(keys)), 1), len(keys) - 1)
        validation += [position for key in keys[:held] for position in groups[key]]
        kept = [position for key in reversed(keys[held:]) for position in groups[key]]
        training += kept if max_episodes_per_task is None else kept[:max_episodes_per_task]
    return sorted(training), sorted(validation)
