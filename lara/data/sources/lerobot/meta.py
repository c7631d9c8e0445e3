"""The files of meta/ other than lara.json: features, tasks, episodes, info, statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lara.data.frames.encode import ImageStorage, VideoStorage, frame_rate
from lara.data.robot import RobotCard
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.staged_episode import StagedEpisode
from lara.data.sources.lerobot.stats import image_stats, index_stats, vector_stats

_PANDAS_INDEX = "__index_level_0__"


def features_of(
    first: StagedEpisode, robot: RobotCard, cameras: list[str], storage: VideoStorage | ImageStorage
) -> dict[str, dict[str, Any]]:
    """`features` of info.json: cameras, state, action, and lerobot's own bookkeeping columns."""
    features: dict[str, dict[str, Any]] = {}
    kind = "video" if isinstance(storage, VideoStorage) else "image"
    for camera in cameras:
        shape = list(first.cameras[camera])
        features[paths.CAMERA_PREFIX + camera] = {
            "dtype": kind,
            "shape": shape,
            "names": ["height", "width", "channels"],
        }
    for key, names in ((paths.STATE, robot.observation.state), (paths.ACTION, robot.action.names)):
        if names:
            features[key] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
    return {**features, **paths.DEFAULT_FEATURES}


def new_file(root: Path, template: str, number: int, **values: str) -> Path:
    """The `number`-th file of a path template; its folder is made."""
    chunk, file = paths.chunk_and_file(number)
    path = paths.fill_path(root, template, {"chunk_index": chunk, "file_index": file, **values})
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_tasks(root: Path, tasks: list[str]) -> None:
    """tasks.parquet as pandas writes a frame whose unnamed index holds the task strings."""
    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    pandas = {
        "index_columns": [_PANDAS_INDEX],
        "column_indexes": [{"name": None, "field_name": None, **text, "metadata": {"encoding": "UTF-8"}}],
        "columns": [
            {"name": "task_index", "field_name": "task_index", **number},
            {"name": None, "field_name": _PANDAS_INDEX, **text},
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), _PANDAS_INDEX: pa.array(tasks, pa.string())}
    )
    table = table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})
    pq.write_table(table, root / paths.TASKS, write_page_checksum=True)


def write_episodes(root: Path, rows: list[dict[str, Any]]) -> None:
    """meta/episodes: one row per episode, in order; all rows have the same keys."""
    table = pa.Table.from_pydict({key: [row[key] for row in rows] for key in rows[0]})
    pq.write_table(table, new_file(root, paths.EPISODES_PATH, 0), compression="snappy", write_page_checksum=True)


def dataset_stats(data: dict[str, np.ndarray], episodes: list[StagedEpisode], cameras: list[str]) -> dict[str, Any]:
    """meta/stats.json: exact over all frames (quantiles too, which lerobot averages over episodes)."""
    stats: dict[str, Any] = {}
    for camera in cameras:
        histogram = np.sum([episode.pixel_histogram(camera) for episode in episodes], axis=0)
        stats[paths.CAMERA_PREFIX + camera] = image_stats(histogram, sum(e.length for e in episodes))
    for key in (paths.STATE, paths.ACTION):
        if data[key].shape[1]:
            stats[key] = vector_stats(data[key])
    return stats | index_stats({key: data[key] for key in paths.DEFAULT_FEATURES})


def video_info(shape: tuple[int, int, int], fps: float, storage: VideoStorage) -> dict[str, Any]:
    """`info` of a video feature."""
    return {
        "video.height": shape[0],
        "video.width": shape[1],
        "video.codec": "av1" if storage.codec == "libsvtav1" else "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": int(frame_rate(fps)),
        "video.channels": 3,
        "has_audio": False,
    }


def dataset_info(
    episodes: list[StagedEpisode],
    tasks: list[str],
    features: dict[str, dict[str, Any]],
    robot: RobotCard,
    fps: float,
    limits: dict[str, float],
) -> dict[str, Any]:
    """meta/info.json. `limits` are the sizes at which files were closed."""
    return {
        "codebase_version": paths.VERSION,
        "robot_type": robot.name,
        "total_episodes": len(episodes),
        "total_frames": sum(episode.length for episode in episodes),
        "total_tasks": len(tasks),
        "chunks_size": paths.FILES_PER_CHUNK,
        **limits,
        "fps": int(fps) if float(fps).is_integer() else fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": paths.DATA_PATH,
        "video_path": paths.VIDEO_PATH if any(f["dtype"] == "video" for f in features.values()) else None,
        "features": features,
    }
