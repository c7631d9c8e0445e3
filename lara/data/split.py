"""Which episodes are held out: decided by each episode's own content, not by where it stands in the dataset."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
    """Splits the given episodes into those for training and those held out.

    Episodes stand in the order of a hash of (seed, task, fingerprint), and the first in that order are held out. A
    task large enough for one (`validation_fraction` times its episodes is at least 1) holds out its share, rounded.
    The smaller tasks hold out their share together, rounded, at most one episode each; where no task is large enough
    and any has two, that is at least one. So two episodes of each of 1,000 tasks at 0.05 hold out 100 of the 2,000,
    and never more than half an episode too many per large task plus one over all.

    A task keeps at least one episode for training. Episodes that are equal count once and are on one side; those that
    occur under several tasks are for training, so that none leaks. A new episode moves at most two others.

    Args:
        tasks: of each episode.
        fingerprints: of each episode; equal ones are the same episode.
        validation_fraction: of the episodes that differ, in [0, 1).
        seed: another seed holds out others.
        max_episodes_per_task: shortens the training side only, in hash order: a larger limit contains the smaller one,
            and who is held out stays the same.

    Returns:
        (training positions, held-out positions), each ascending.

    Raises:
        ConfigError: a fraction or a limit outside its range.
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise ConfigError(f"validation_fraction must be in [0, 1), got {validation_fraction}")
    if max_episodes_per_task is not None and max_episodes_per_task < 1:
        raise ConfigError(f"max_episodes_per_task must be at least 1 (or null for all), got {max_episodes_per_task}")
    under: dict[str, set[str]] = defaultdict(set)
    for task, fingerprint in zip(tasks, fingerprints, strict=True):
        under[fingerprint].add(task)
    positions: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    shared: set[str] = set()
    for position, (task, fingerprint) in enumerate(zip(tasks, fingerprints, strict=True)):
        key = hashlib.sha256(f"{seed}\0{task}\0{fingerprint}".encode()).hexdigest()
        positions[task][key].append(position)
        if len(under[fingerprint]) > 1:
            shared.add(key)
    held = _held_out({task: sorted(keys) for task, keys in positions.items()}, shared, validation_fraction)
    training: list[int] = []
    for groups in positions.values():
        kept = [position for key in sorted(groups, reverse=True) if key not in held for position in groups[key]]
        training += kept if max_episodes_per_task is None else kept[:max_episodes_per_task]
    validation = [p for groups in positions.values() for key in groups if key in held for p in groups[key]]
    return sorted(training), sorted(validation)


def _held_out(keys_of: Mapping[str, Sequence[str]], shared: set[str], fraction: float) -> set[str]:
    """keys_of: task -> its episodes' hashes, ascending. shared: hashes that are never held out."""
    held: set[str] = set()
    first: list[str] = []  # of each small task: the one that it would hold out
    small, large = 0, 0
    for keys in keys_of.values():
        # one stays, and an episode that other tasks share stays anyway
        eligible = [key for key in keys if key not in shared][: len(keys) - 1]
        if fraction * len(keys) >= 1:
            held.update(eligible[: round(fraction * len(keys))])
            large += 1
        else:
            first += eligible[:1]
            small += len(keys)
    if fraction > 0:
        held.update(sorted(first)[: max(round(fraction * small), 0 if large else 1)])
    return held
