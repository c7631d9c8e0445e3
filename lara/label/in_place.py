"""Labels as new columns of the dataset itself: each data file is replaced in one rename, the metadata last.

Killed at any instant, every file is the old one or the new one; the same command finishes the rest. Until the last
rename info.json does not name the columns, and a reader that goes by it does not see them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from lara.data.lam_inputs.label_columns import about_path, column_digest, label_schema, signed
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.source import LeRobotSource
from lara.errors import DataError
from lara.label.job import Job
from lara.label.table import episode_tables, z_stats
from lara.store.files import whole_file
from lara.store.lock import locked
from lara.store.records import read_json, write_json

_PLAN = b"lara_label_plan"


def write_in_place(
    job: Job, source: LeRobotSource, features: Mapping[str, dict[str, Any]], about: Mapping[str, Any]
) -> None:
    """Appends the label columns to every data file, then to info.json and stats.json, then writes the record.

    Two labellings of one dataset write one after the other: each reads a file, adds its columns and replaces it. Raises
    DataError when a file has columns of these names that are not of this plan.
    """
    with locked(source.root / ".lock-labels", wait=True, doing="adding label columns"):
        _write(job, source, features, about)


def _write(job: Job, source: LeRobotSource, features: Mapping[str, dict[str, Any]], about: Mapping[str, Any]) -> None:
    episodes: dict[Path, list[int]] = defaultdict(list)
    for row in source.rows:
        episodes[row.data].append(row.index)
    tables = episode_tables(job, source)
    digests: dict[str, dict[str, str]] = {}
    for path, inside in tqdm(episodes.items(), desc="write", unit="file", disable=None):
        numbers, parts = zip(*[next(tables) for _ in inside], strict=True)
        if list(numbers) != inside:
            raise DataError(f"{path}: its episodes {inside} do not follow one another; nothing was written to it")
        labels = pa.concat_tables(parts)
        digests[path.relative_to(source.root).as_posix()] = {name: column_digest(labels[name]) for name in features}
        if not _is_done(path, features, job.plan):
            _append(path, labels, label_schema(dict(features)), job.plan)
    root = source.root
    stats = read_json(root / paths.STATS, DataError) if (root / paths.STATS).exists() else {}
    write_json(root / paths.STATS, {**stats, **z_stats(job, source, Path(job.folder).parent)})
    write_json(root / about_path(job.prefix), signed({**about, "columns": digests}))
    info = read_json(root / paths.INFO, DataError)
    write_json(root / paths.INFO, {**info, "features": {**info["features"], **features}})


def _is_done(path: Path, features: Mapping[str, Any], plan: str) -> bool:
    schema = pq.read_schema(path)
    present = sorted(set(features) & set(schema.names))
    if not present:
        return False
    if (schema.metadata or {}).get(_PLAN) != plan.encode():
        raise DataError(f"{path}: has columns {present} of other labels; choose another label.prefix")
    return True


def _append(path: Path, labels: pa.Table, columns: pa.Schema, plan: str) -> None:
    """The same rows in the same row groups with the new columns behind the old ones."""
    with whole_file(path) as temporary, pq.ParquetFile(path) as file:
        if file.metadata.num_rows != len(labels):
            raise DataError(f"{path}: has {file.metadata.num_rows} rows, its episodes have {len(labels)}")
        old = file.schema_arrow
        metadata = {**(old.metadata or {}), _PLAN: plan.encode()}
        # this key repeats the columns for Hugging Face datasets, which derives them from the schema when it is absent
        metadata.pop(b"huggingface", None)
        schema = pa.schema([*old, *columns], metadata=metadata)
        compression = file.metadata.row_group(0).column(0).compression.lower() if file.num_row_groups else "snappy"
        with pq.ParquetWriter(temporary, schema, compression=compression, write_page_checksum=True) as writer:
            row = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                added = labels.slice(row, len(table))
                row += len(table)
                whole = pa.Table.from_arrays([*table.columns, *added.columns], schema=schema)
                writer.write_table(whole, row_group_size=max(len(table), 1))
