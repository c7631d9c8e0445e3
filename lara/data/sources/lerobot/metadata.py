"""What meta/ says, in one form for every version: info, instructions, the table of episodes, what is unusual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.features import check_features
from lara.data.sources.source import Finding
from lara.errors import DataError
from lara.store.records import read_json

READ = ("v2.0", "v2.1", "v3.0")
_NEEDED = ("fps", "features", "data_path", "total_episodes", "total_frames")


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Instructions. texts: one per place. numbers: (n,) what the files call them, ascending; gaps are allowed."""

    texts: tuple[str, ...]
    numbers: np.ndarray

    @classmethod
    def of(cls, path: Path, numbers: Sequence[Any], texts: Sequence[Any]) -> tuple[Tasks, list[Finding]]:
        """Raises DataError for numbers that are no whole numbers, or stand twice."""
        if not all(isinstance(n, int) and not isinstance(n, bool) and abs(n) < 2**62 for n in numbers):
            raise DataError(f"{path}: task indices should be whole numbers, got {list(numbers)[:10]}")
        if len(set(numbers)) != len(numbers):
            raise DataError(f"{path}: task indices stand there more than once: {sorted(numbers)[:10]}")
        notes = []
        if sorted(numbers) != list(range(len(numbers))):
            said = f"the task indices are not 0..{len(numbers) - 1}; they are read as they stand"
            notes.append(Finding(severity="unusual", kind="gaps in task indices", where=str(path), said=said))
        if (empty := sum(text is None for text in texts)) > 0:
            said = f"{empty} tasks have no text; their instruction is empty"
            notes.append(
                Finding(severity="unusual", kind="tasks without text", where=str(path), said=said, count=empty)
            )
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        found = cls(
            texts=tuple("" if texts[k] is None else str(texts[k]) for k in order),
            numbers=np.array([numbers[k] for k in order], np.int64),
        )
        return found, notes

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """(n,) task numbers of a file -> (n,) int64 places in `texts`; -1 for those that are not there."""
        if len(self.numbers) == 0:
            return np.full(len(numbers), -1, np.int64)
        place = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[place] == numbers, place, -1).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Everything in meta/ that reading needs. notes: what is unusual and was read right."""

    tasks: Tasks
    episodes: tuple[EpisodeRow, ...]
    notes: tuple[Finding, ...]


def read_info(root: Path) -> dict[str, Any]:
    """meta/info.json. Raises DataError for a version that this reader does not know, and for keys that are missing."""
    path = root / paths.INFO
    found = read_json(path, DataError)
    info: dict[str, Any] = found if isinstance(found, dict) else {}
    version = info.get("codebase_version")
    if version not in READ:
        raise DataError(
            f"{path}: this reader knows LeRobotDataset {', '.join(READ[:-1])} and {READ[-1]}, found {version!r}; "
            "convert older ones with lerobot's own scripts (lerobot.datasets.v2.convert_dataset_v1_to_v2)"
        )
    missing = sorted(set(_NEEDED) - set(info))
    if missing:
        raise DataError(f"{path}: the keys {missing} are missing")
    fps = info["fps"]
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not fps > 0:
        raise DataError(f"{path}: fps must be a positive number, got {fps!r}")
    if not isinstance(info["data_path"], str):
        raise DataError(f"{path}: data_path must be a path template, got {info['data_path']!r}")
    check_features(path, info["features"])
    return info


def require_totals(root: Path, info: Mapping[str, Any], episodes: Sequence[EpisodeRow]) -> None:
    """Raises DataError when info.json counts other episodes or frames than the table has: a part of it is missing."""
    for name, found in (("total_episodes", len(episodes)), ("total_frames", sum(e.length for e in episodes))):
        if info[name] != found:
            raise DataError(f"{root / paths.INFO}: {name} is {info[name]}, the episode table has {found}")


def episode_gaps(where: Path, numbers: Sequence[int]) -> list[Finding]:
    """A note when episodes are not numbered 0, 1, 2, ...; DataError when they do not ascend."""
    ascending = all(a < b for a, b in pairwise(numbers))
    if not ascending or (numbers and numbers[0] < 0):
        raise DataError(
            f"{where}: episodes should be numbered 0..{len(numbers) - 1} in order (gaps are read), got "
            f"{list(numbers)[:10]}"
        )
    gap = numbers[-1] + 1 - len(numbers) if numbers else 0
    if not gap:
        return []
    there = set(numbers)
    first = next(k for k in range(numbers[-1]) if k not in there)
    said = f"{gap} episode numbers are missing, the first is {first}; the others are read under the places 0, 1, ..."
    return [Finding(severity="unusual", kind="gaps in episode indices", where=str(where), said=said, count=gap)]
