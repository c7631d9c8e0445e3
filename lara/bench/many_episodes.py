"""Datasets of many short episodes without pictures, written quickly: what `lara bench prepare` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.meta import new_file, write_tasks
from lara.data.sources.lerobot.stats import QUANTILES, index_stats, vector_stats
from lara.store.files import whole_folder
from lara.store.records import write_json

FPS, STATE, ACTION, TASKS = 20, 8, 7, 50
_FILE_MB = 100.0


def write_many(root: Path, *, episodes: int, frames: int) -> None:
    """A LeRobotDataset v3.0 as a recorder leaves it: a row group and a row of statistics per episode, no robot's card.

    Args:
        root: appears whole, or not at all.
        episodes: how many, each with other numbers; every task is used by every 50th.
        frames: rows of each, at 20 per second, with 8 numbers of state and 7 of action.
    """
    rng = np.random.default_rng(0)
    count = episodes * frames
    frame = np.tile(np.arange(frames), episodes)
    numbers: dict[str, np.ndarray] = {
        paths.STATE: rng.normal(size=(count, STATE)).astype(np.float32),
        paths.ACTION: rng.uniform(-1, 1, (count, ACTION)).astype(np.float32),
        "timestamp": (frame / FPS).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.repeat(np.arange(episodes), frames),
        "index": np.arange(count),
        "task_index": np.repeat(np.arange(episodes) % TASKS, frames),
    }
    with whole_folder(root) as temporary:
        (temporary / "meta").mkdir()
        per_file = _write_data(temporary, numbers, episodes, frames)
        write_tasks(temporary, _tasks(episodes))
        _write_episodes(temporary, numbers, episodes, frames, per_file)
        stats = {key: vector_stats(numbers[key]) for key in (paths.STATE, paths.ACTION)}
        stats |= index_stats({key: numbers[key] for key in paths.DEFAULT_FEATURES})
        write_json(temporary / paths.STATS, stats)
        write_json(temporary / paths.INFO, _info(episodes, frames))


def _tasks(episodes: int) -> list[str]:
    return [f"do the thing number {k}" for k in range(min(episodes, TASKS))]


def _write_data(root: Path, numbers: dict[str, np.ndarray], episodes: int, frames: int) -> int:
    """Returns how many episodes a file holds."""
    schema = paths.data_schema(state_dim=STATE, action_dim=ACTION, image_features=[])
    table = pa.Table.from_arrays([_lists(numbers[f.name]).cast(f.type) for f in schema], schema=schema)
    per_file = max(int(_FILE_MB * 1024 * 1024 / (table.nbytes / episodes)), 1)
    for number, begin in enumerate(range(0, episodes, per_file)):
        part = table.slice(begin * frames, per_file * frames)
        path = new_file(root, paths.DATA_PATH, number)
        pq.write_table(part, path, row_group_size=frames, use_dictionary=False, write_page_checksum=True)
    return per_file


def _lists(values: np.ndarray) -> pa.Array:
    flat = pa.array(values.reshape(-1))
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _write_episodes(root: Path, numbers: dict[str, np.ndarray], episodes: int, frames: int, per_file: int) -> None:
    number = np.arange(episodes)
    places = [paths.chunk_and_file(k) for k in (number // per_file).tolist()]
    tasks = _tasks(episodes)
    columns: dict[str, Any] = {
        "episode_index": number,
        "tasks": [[tasks[k % TASKS]] for k in range(episodes)],
        "length": np.full(episodes, frames),
        "data/chunk_index": [chunk for chunk, _ in places],
        "data/file_index": [file for _, file in places],
        "dataset_from_index": number * frames,
        "dataset_to_index": (number + 1) * frames,
        "meta/episodes/chunk_index": np.zeros(episodes, np.int64),
        "meta/episodes/file_index": np.zeros(episodes, np.int64),
    }
    for key, values in numbers.items():
        x = values.reshape(episodes, frames, -1).astype(np.float64)
        stats = {"min": x.min(1), "max": x.max(1), "mean": x.mean(1), "std": x.std(1)}
        # sorted once, and taken by rank: episodes are too many for interpolated quantiles of each
        ranked = np.sort(x, axis=1)
        stats |= {name: ranked[:, round(share * (frames - 1))] for name, share in QUANTILES.items()}
        columns |= {f"stats/{key}/{name}": _lists(value) for name, value in stats.items()}
        columns[f"stats/{key}/count"] = _lists(np.full((episodes, 1), frames))
    pq.write_table(pa.table(columns), new_file(root, paths.EPISODES_PATH, 0), write_page_checksum=True)


def _info(episodes: int, frames: int) -> dict[str, Any]:
    widths = {paths.STATE: STATE, paths.ACTION: ACTION}
    vectors = {
        key: {"dtype": "float32", "shape": [width], "names": [f"{key}.{k}" for k in range(width)]}
        for key, width in widths.items()
    }
    return {
        "codebase_version": paths.VERSION,
        "robot_type": "bench",
        "total_episodes": episodes,
        "total_frames": episodes * frames,
        "total_tasks": len(_tasks(episodes)),
        "chunks_size": paths.FILES_PER_CHUNK,
        "data_files_size_in_mb": _FILE_MB,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": paths.DATA_PATH,
        "video_path": None,
        "features": {**vectors, **paths.DEFAULT_FEATURES},
    }
