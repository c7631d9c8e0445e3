"""Labels as a dataset of their own beside the labelled one: LeRobot v3.0, the same episodes, frames and data files.

File by file and row by row it matches the dataset, so that a column can be carried over by appending it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lara.data.lam_inputs.label_columns import LABELS, about_path, label_schema
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.meta import write_episodes, write_tasks
from lara.data.sources.lerobot.source import LeRobotSource
from lara.data.sources.source import Source, frame_count
from lara.errors import DataError
from lara.label.job import Job
from lara.label.table import episode_tables, z_stats
from lara.store.files import whole_folder
from lara.store.manifest import write_manifest
from lara.store.records import write_json

_FILE_BYTES = 100 * 1024 * 1024


def write_sidecar(
    job: Job,
    source: Source,
    features: Mapping[str, dict[str, Any]],
    about: Mapping[str, Any],
    output: Path,
) -> None:
    """Assembles `output` from the finished units, whole or absent. features: of the label columns. about: the record.

    Raises StoreError when `output` exists.
    """
    with whole_folder(output) as building:
        _fill(job, source, features, about, building)


def _fill(
    job: Job,
    source: Source,
    features: Mapping[str, dict[str, Any]],
    about: Mapping[str, Any],
    building: Path,
) -> None:
    (building / "meta").mkdir()
    rows = _write_data(job, source, dict(features), building)
    write_tasks(building, list(source.tasks))
    write_episodes(building, rows)
    write_json(building / paths.STATS, z_stats(job, source, Path(job.folder).parent))
    files = {(r["data/chunk_index"], r["data/file_index"]) for r in rows}
    info = {
        "codebase_version": paths.VERSION,
        "robot_type": None if source.robot is None else source.robot.name,
        "total_episodes": len(source.episodes),
        "total_frames": frame_count(source),
        "total_tasks": len(source.tasks),
        "chunks_size": paths.FILES_PER_CHUNK,
        "data_files_size_in_mb": _FILE_BYTES // 2**20,
        "video_files_size_in_mb": 200,
        "fps": source.fps,
        "splits": {"train": f"0:{len(source.episodes)}"},
        "data_path": paths.DATA_PATH,
        "video_path": None,
        "features": {**features, **paths.DEFAULT_FEATURES},
    }
    write_json(building / paths.INFO, info)
    write_json(building / about_path(job.prefix), {**about, "data_files": len(files)})
    write_manifest(building, LABELS)


def _write_data(job: Job, source: Source, features: dict[str, dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """data/*.parquet, one row group per episode; returns the rows of the episode table."""
    labels = label_schema(features)
    numbers = [pa.field("timestamp", pa.float32())]
    numbers += [pa.field(n, pa.int64()) for n in ("frame_index", "episode_index", "index", "task_index")]
    schema = pa.schema([*labels, *numbers])
    rows: list[dict[str, Any]] = []
    writer: pq.ParquetWriter | None = None
    here: tuple[int, int] | None = None
    size = 0
    for k, table in episode_tables(job, source):
        place = _place(source, k, here, size + table.nbytes)
        if place != here:
            if any((r["data/chunk_index"], r["data/file_index"]) == place for r in rows):
                raise DataError(f"{source.root}: the episodes of its data file {place} do not follow one another")
            if writer is not None:
                writer.close()
            path = paths.fill_path(root, paths.DATA_PATH, dict(zip(("chunk_index", "file_index"), place, strict=True)))
            path.parent.mkdir(parents=True, exist_ok=True)
            writer, here, size = pq.ParquetWriter(path, schema, compression="snappy"), place, 0
        assert writer is not None
        size += table.nbytes
        counters = _counters(source, k)
        columns = [table[f.name] if f.name in features else pa.array(counters[f.name], f.type) for f in schema]
        writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(table))
        rows.append(_episode_row(source, k, place))
    if writer is not None:
        writer.close()
    return rows


def _place(source: Source, episode: int, here: tuple[int, int] | None, size: int) -> tuple[int, int]:
    """(chunk, file) of the episode's rows: where the dataset has them; else files of a handy size."""
    if isinstance(source, LeRobotSource) and source.version == paths.VERSION:
        path = source.rows[episode].data
        return int(path.parent.name.removeprefix("chunk-")), int(path.stem.removeprefix("file-"))
    if here is None:
        return 0, 0
    number = here[0] * paths.FILES_PER_CHUNK + here[1]
    return paths.chunk_and_file(number + (size > _FILE_BYTES))


def _counters(source: Source, episode: int) -> dict[str, np.ndarray]:
    """lerobot's own columns, counted as the sidecar counts: without gaps."""
    row, arrays = source.episodes[episode], source.arrays(episode)
    frame = np.arange(row.length)
    return {
        "timestamp": arrays.timestamp.astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(row.length, row.index),
        "index": row.start + frame,
        "task_index": arrays.task_index,
    }


def _episode_row(source: Source, episode: int, place: tuple[int, int]) -> dict[str, Any]:
    row = source.episodes[episode]
    extra = {"file": row.info["file"]} if "file" in row.info else {}
    return {
        "episode_index": episode,
        "tasks": list(row.tasks),
        "length": row.length,
        "data/chunk_index": place[0],
        "data/file_index": place[1],
        "dataset_from_index": row.start,
        "dataset_to_index": row.start + row.length,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        **extra,
    }
