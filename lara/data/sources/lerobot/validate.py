"""Is the dataset what its metadata promises? Cheap enough to run before every training: it decodes only if asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from lara.data.sources.lerobot.source import EpisodeArrays, EpisodeRow, LeRobotSource
from lara.errors import DataError

_CHUNK = 256  # frames decoded at once


def validate(source: LeRobotSource, *, decode: bool, cameras: Collection[str] | None = None) -> None:
    """Raises DataError naming file, episode and frame at the first fault:

    a missing or unreadable file; a table or video with fewer or more frames than its episodes; an episode whose
    frames lie outside its video or inside another episode's; a number that is not finite in state or actions; a task
    index without a task, or another task than the episode table says; timestamps that do not rise by 1 / fps;
    bookkeeping columns that contradict the episode table. decode=True also decodes every frame of every camera.
    cameras: those whose videos are looked at; all when not given. Opening a video needs the extra "video".
    """
    chosen = tuple(source.cameras) if cameras is None else tuple(cameras)
    _validate_tables(source)
    for camera in chosen:
        if source.stored[camera] == "video":
            _validate_videos(source, camera)
    bar = tqdm(source.episodes, desc="validate", unit="episode", disable=None)
    for row in bar:
        _validate_numbers(source, row, source.arrays(row.index))
        if decode:
            for camera in chosen:
                for begin in range(0, row.length, _CHUNK):
                    source.frames(row.index, camera, np.arange(begin, min(begin + _CHUNK, row.length)))


def _validate_tables(source: LeRobotSource) -> None:
    for path, rows in source.tables().items():
        source.arrays(next(row.index for row in source.episodes if row.data == path))  # exists, opens, has its columns
        found = pq.read_metadata(path).num_rows
        if found != rows:
            raise DataError(f"{path}: its episodes add up to {rows} rows, the file has {found}; copy it again")


def _validate_videos(source: LeRobotSource, camera: str) -> None:
    by_file: dict[Path, list[EpisodeRow]] = defaultdict(list)
    for row in source.episodes:
        by_file[row.videos[camera]].append(row)
    for path, rows in by_file.items():
        count = source.reader.count(path)
        end, before = 0, None
        for row in sorted(rows, key=lambda r: r.begins[camera]):
            begin = (row.begins[camera] - source.first_time(path)) * source.fps
            first = round(begin)
            if abs(begin - first) > 0.25:
                raise DataError(f"{path}: episode {row.index} begins between two frames ({row.begins[camera]} s)")
            if first < end:
                raise DataError(f"{path}: episode {row.index} begins at frame {first}, inside episode {before}")
            end, before = first + row.length, row.index
            if end > count:
                raise DataError(
                    f"{path}: episode {row.index} needs frames {first}..{end - 1}, the video has {count}; "
                    f"its last {end - count} frames are missing"
                )
        total = sum(row.length for row in rows)
        if total != count:
            raise DataError(f"{path}: its episodes add up to {total} frames, the video has {count}")


def _validate_numbers(source: LeRobotSource, row: EpisodeRow, arrays: EpisodeArrays) -> None:
    where = f"{row.data}: episode {row.index}"
    for name, vectors in (("state", arrays.state), ("action", arrays.actions)):
        bad = np.argwhere(~np.isfinite(vectors))
        if len(bad):
            frame, dim = bad[0]
            raise DataError(
                f"{where}, frame {frame}: {name}[{dim}] is {vectors[frame, dim]}; remove or mend the episode"
            )
    counters = {
        "episode_index": (arrays.episode_index, np.full(row.length, row.index)),
        "frame_index": (arrays.frame_index, np.arange(row.length)),
        "index": (arrays.index, row.start + np.arange(row.length)),
    }
    for name, (found, expected) in counters.items():
        wrong = np.flatnonzero(found != expected)
        if len(wrong):
            frame = int(wrong[0])
            raise DataError(f"{where}, frame {frame}: {name} should be {expected[frame]}, found {found[frame]}")
    wrong = np.flatnonzero((arrays.task_index < 0) | (arrays.task_index >= len(source.tasks)))
    if len(wrong):
        frame = int(wrong[0])
        raise DataError(
            f"{where}, frame {frame}: task index {arrays.task_index[frame]} is unknown, "
            f"tasks.parquet has 0..{len(source.tasks) - 1}"
        )
    used = {source.tasks[number] for number in np.unique(arrays.task_index)}
    if not used <= set(row.tasks):
        raise DataError(f"{where}: its rows use the tasks {sorted(used)}, the episode table says {sorted(row.tasks)}")
    steps = np.diff(arrays.timestamp.astype(np.float64))
    wrong = np.flatnonzero(~(np.abs(steps - 1 / source.fps) < 0.25 / source.fps))
    if len(wrong):
        frame = int(wrong[0]) + 1
        raise DataError(
            f"{where}, frame {frame}: timestamps should rise by {1 / source.fps:.6f} s, "
            f"from {arrays.timestamp[frame - 1]} s to {arrays.timestamp[frame]} s"
        )
