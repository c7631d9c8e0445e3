"""meta/stats.json of a dataset made anew from its tables; what no table holds (images in videos) stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.stats import QUANTILES
from lara.data.statistics import Running
from lara.errors import DataError
from lara.faults import refused
from lara.store.records import read_json, write_json

SAME = 1e-6  # figures that differ by less than this share of the column's range are the same
ROWS = 65536  # read at once


def fix_stats(root: Path) -> list[str]:
    """Recomputes the statistics of every numeric column and replaces meta/stats.json where it says otherwise.

    Figures that are not recomputed keep what they were: images, features that no table holds, keys of other tools.

    Args:
        root: a LeRobot v3.0 dataset.

    Returns:
        One line per feature whose figures changed; none where the file was right and stays as it is.

    Raises:
        DataError: not a v3.0 dataset, a table is damaged, or a number is not finite.
    """
    info = read_json(root / paths.INFO, DataError)
    version, features = (
        (info.get(key) for key in ("codebase_version", "features")) if isinstance(info, dict) else (0, 0)
    )
    if version != paths.VERSION or not isinstance(features, dict):
        raise DataError(
            f"{root / paths.INFO}: only statistics of LeRobotDataset {paths.VERSION} are in one file, found "
            f"{version!r}; convert it first"
        )
    before = _read(root / paths.STATS)
    columns = [name for name, f in features.items() if isinstance(f, dict) and f.get("dtype") not in ("video", "image")]
    after, said = dict(before), []
    for name, shape, running in _running(root, columns, features):
        figures = {k: v.reshape(shape).tolist() for k, v in running.figures(QUANTILES).items()}
        figures["count"] = [running.count]
        found = before.get(name)
        old: dict[str, Any] = found if isinstance(found, dict) else {}
        after[name] = {**old, **figures}
        said += _changes(name, old, figures)
    if said:
        write_json(root / paths.STATS, after)
    return said


def _read(path: Path) -> dict[str, Any]:
    """What the file holds; nothing where it is missing, which is one reason to be here."""
    if not path.exists():
        return {}
    found = read_json(path, DataError)
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected one JSON object from features to figures; remove it, and it is written anew")
    return found


def _running(
    root: Path, names: Sequence[str], features: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[int, ...], Running]]:
    """(name, shape of a row, figures) of each column that holds numbers, in one pass over the tables."""
    tables = sorted((root / "data").rglob("*.parquet"))
    if not tables:
        raise DataError(f"{root}/data: expected tables (*.parquet), found none")
    found: dict[str, Running] = {}
    for path in tqdm(tables, desc="statistics", unit="file", disable=None):
        for name, rows in _batches(path, names):
            if name not in found:
                found[name] = Running(rows.shape[1])
            try:
                found[name].add(rows)
            except DataError as error:
                raise DataError(f"{path}: column '{name}': {error}") from error
    for name, running in found.items():
        shape = tuple(int(n) for n in features[name].get("shape") or ())
        yield name, shape if int(np.prod(shape)) == running.dim else (running.dim,), running


def _batches(path: Path, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    try:
        with pq.ParquetFile(path) as file:
            here = [
                name
                for name in names
                if name in file.schema_arrow.names and _numeric(file.schema_arrow.field(name).type)
            ]
            for batch in file.iter_batches(ROWS, columns=here):
                for name in here:
                    yield name, _rows(path, name, batch.column(name))
    except (pa.ArrowInvalid, OSError) as error:
        raise refused(error) or DataError(f"{path}: damaged parquet ({error}); copy the file again") from error


def _numeric(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    numeric: bool = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return numeric


def _rows(path: Path, name: str, column: pa.Array) -> np.ndarray:
    """(n, D): nested lists are flattened."""
    count, flat = len(column), column
    while not (pa.types.is_primitive(flat.type)):
        if flat.null_count:
            raise DataError(f"{path}: column '{name}' has {flat.null_count} empty rows")
        flat = flat.flatten()
    if flat.null_count or (count and len(flat) % count):
        raise DataError(f"{path}: column '{name}' should hold equally many numbers in each row, some are missing")
    values = flat.to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32 if values.dtype == np.float32 else np.float64).reshape(count, -1)


def _changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """At most one line: which figures changed, and by example the one that changed most."""
    width = np.ravel(new["max"]) - np.ravel(new["min"])
    changed, worst, example = [], 0.0, ""
    for key, value in new.items():
        fresh, given = np.ravel(value).astype(np.float64), _figures(old.get(key))
        if given is None or given.shape != fresh.shape:
            changed.append(key)
            continue
        room = np.zeros(1) if key == "count" else SAME * (width + np.abs(fresh)) + 1e-12
        off = np.abs(given - fresh)
        if (off > room).any():
            changed.append(key)
            d = int(np.argmax(off))
            if off[d] > worst:
                worst, example = float(off[d]), f"; {key}[{d}] was {given[d]:.6g} and is {fresh[d]:.6g}"
    return [f"{name}: missing or wrong: {', '.join(changed)}{example}"] if changed else []


def _figures(value: Any) -> np.ndarray | None:
    """Numbers of any nesting as one row; None for anything else."""
    try:
        row = np.ravel(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        return None
    return row if np.isfinite(row).all() else None
