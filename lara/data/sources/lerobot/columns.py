"""The numbers of one data file, or of many episodes, as arrays: what a robot did and was, and a recorder's counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lara.data.sources.lerobot.keys import Keys, Vector
from lara.data.sources.lerobot.tables import integers, opened, read_opened, read_parquet, reals, vectors
from lara.errors import DataError

COUNTERS = ("frame_index", "episode_index", "index")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """N rows.

    Attributes:
        state: (N, S) float32. actions: (N, A) float32. timestamp: (N,) float64, as it is written.
        task: (N,) int64, as it is written: a number of the dataset's, not yet a place in `Source.tasks`.
        frame_index, episode_index, index: (N,) int64, or None where the file does not have it.
    """

    state: np.ndarray
    actions: np.ndarray
    timestamp: np.ndarray | None
    task: np.ndarray | None
    frame_index: np.ndarray | None
    episode_index: np.ndarray | None
    index: np.ndarray | None

    def __len__(self) -> int:
        return len(self.state)

    def rows(self, begin: int, end: int) -> Columns:
        """The rows begin ... end - 1."""
        found: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            found[f.name] = None if value is None else value[begin:end]
        return Columns(**found)


def joined(parts: Sequence[Columns]) -> Columns:
    """One after the other; a counter that one of them does not have is None."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for f in fields(Columns):
        values = [getattr(part, f.name) for part in parts]
        columns[f.name] = None if any(value is None for value in values) else np.concatenate(values)
    return Columns(**columns)


def read_columns(path: Path, keys: Keys) -> Columns:
    """All rows of a data file. Raises DataError for columns that are missing or hold something else than numbers."""
    with opened(path) as file:
        there = set(file.schema_arrow.names)
        scalars = [name for name in ("timestamp", keys.task, *COUNTERS) if name in there]
        names = list(dict.fromkeys([*keys.state.columns, *keys.action.columns, *scalars]))
        table = read_opened(path, file, names)
    counters = {name: integers(path, name, table[name]) if name in there else None for name in COUNTERS}
    return Columns(
        state=_vector(path, table, keys.state),
        actions=_vector(path, table, keys.action),
        timestamp=reals(path, "timestamp", table["timestamp"]) if "timestamp" in there else None,
        task=integers(path, keys.task, table[keys.task]) if keys.task in there else None,
        **counters,
    )


def read_actions(path: Path, keys: Keys) -> np.ndarray:
    """(N, A) float32: the actions of all rows of a data file, and nothing else of it. Raises DataError."""
    return _vector(path, read_parquet(path, list(keys.action.columns)), keys.action)


def column_quirks(schema: pa.Schema, keys: Keys) -> list[str]:
    """What is stored in another way than lerobot stores it, and is read all the same."""
    found = []
    for name in (keys.task, *COUNTERS):
        if name in schema.names and pa.types.is_floating(schema.field(name).type):
            found.append(f"'{name}' holds whole numbers as floating point")
    for name in (*keys.state.columns, *keys.action.columns):
        kind = schema.field(name).type if name in schema.names else None
        if kind is not None and pa.types.is_large_list(kind):
            found.append(f"'{name}' is stored as large lists")
    return found


def read_times(path: Path) -> np.ndarray | None:
    """(N,) float64: the column `timestamp` alone; None where the file has none."""
    with opened(path) as file:
        if "timestamp" not in file.schema_arrow.names:
            return None
        return reals(path, "timestamp", read_opened(path, file, ["timestamp"])["timestamp"])


def read_numbers(path: Path) -> np.ndarray:
    """(N,) int64: the column `episode_index` alone."""
    return integers(path, "episode_index", read_parquet(path, ["episode_index"])["episode_index"])


def _vector(path: Path, table: pa.Table, vector: Vector) -> np.ndarray:
    if not vector.parts:
        return np.zeros((len(table), 0), np.float32)
    whole = {key: vectors(path, key, table[key], width) for key, width in vector.columns.items()}
    if len(vector.parts) == 1 and vector.parts[0].end - vector.parts[0].begin == vector.parts[0].width:
        return whole[vector.parts[0].column]
    return np.concatenate([whole[p.column][:, p.begin : p.end] for p in vector.parts], axis=1)


def require_rows(path: Path, columns: Columns, *, episode: int, begin: int, end: int) -> None:
    """Raises DataError when the file ends before the episode does."""
    if len(columns) < end:
        raise DataError(
            f"{path}: episode {episode} needs rows {begin}..{end - 1}, the file has {len(columns)}; it is cut short, "
            "copy it again"
        )
