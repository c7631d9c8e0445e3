"""Staged episodes -> one LeRobotDataset v3.0 that lerobot itself opens. Nothing is encoded twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from lara.data.frames.encode import ImageStorage, VideoStorage, codec_header, frame_rate, join_videos
from lara.data.robot import RobotCard
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.meta import (
    dataset_info,
    dataset_stats,
    features_of,
    new_file,
    video_info,
    write_episodes,
    write_tasks,
)
from lara.data.sources.lerobot.staged_episode import StagedEpisode, read_staged, stage_episode, storage_to_dict
from lara.data.sources.lerobot.stats import image_stats, index_stats, vector_stats
from lara.errors import ConfigError, DataError
from lara.store.files import whole_folder
from lara.store.records import write_json

__all__ = ["StagedEpisode", "assemble", "read_staged", "stage_episode"]

_MB = 1024 * 1024


def assemble(
    staged: Sequence[Path],
    root: Path,
    *,
    robot: RobotCard,
    fps: float,
    storage: VideoStorage | ImageStorage,
    data_file_mb: float = 100,
    video_file_mb: float = 200,
    records: Mapping[str, Any] | None = None,
) -> None:
    """Build the dataset `root` from staged episodes, in the order given: whole or absent.

    Episode k of the dataset is staged[k]; tasks are numbered by first appearance. A data or video file is closed once
    the next episode would carry it beyond its limit in megabytes (one episode never spans two files). The same
    staged folders give the same bytes. records: name -> JSON that appears beside the dataset's own files. Raises
    DataError when episodes differ from each other, from the robot card, from fps or storage, StoreError when `root`
    exists.
    """
    if data_file_mb <= 0 or video_file_mb <= 0:
        raise ConfigError(f"file sizes must be positive, got {data_file_mb=}, {video_file_mb=}")
    if not staged:
        raise DataError(f"{root}: expected at least one staged episode, got none")
    episodes = [read_staged(folder) for folder in staged]
    for episode in episodes:
        _require_fit(episode, episodes[0], robot=robot, fps=fps, storage=storage)
    cameras = [camera for camera in robot.observation.cameras if camera in episodes[0].cameras]
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    with whole_folder(Path(root)) as temporary:
        (temporary / "meta").mkdir()
        rows: list[dict[str, Any]] = [{} for _ in episodes]
        data = _write_data(temporary, episodes, tasks, cameras, fps, storage, data_file_mb, rows)
        features = features_of(episodes[0], robot, cameras, storage)
        if isinstance(storage, VideoStorage):
            for camera in cameras:
                key = paths.CAMERA_PREFIX + camera
                _write_videos(temporary, key, camera, episodes, fps, video_file_mb, rows)
                features[key]["info"] = video_info(episodes[0].cameras[camera], fps, storage)
        write_tasks(temporary, tasks)
        write_episodes(temporary, rows)
        write_json(temporary / paths.STATS, dataset_stats(data, episodes, cameras))
        limits = {"data_files_size_in_mb": data_file_mb, "video_files_size_in_mb": video_file_mb}
        write_json(temporary / paths.INFO, dataset_info(episodes, tasks, features, robot, fps, limits))
        about = {"format": 1, "robot": robot.to_dict(), "episodes": [dict(episode.info) for episode in episodes]}
        write_json(temporary / paths.LARA, about)
        for name, record in (records or {}).items():
            write_json(temporary / name, record)


def _require_fit(
    episode: StagedEpisode,
    first: StagedEpisode,
    *,
    robot: RobotCard,
    fps: float,
    storage: VideoStorage | ImageStorage,
) -> None:
    expected = {
        "fps": float(fps),
        "storage": storage_to_dict(storage),
        "camera names": sorted(robot.observation.cameras),
        "image shapes": dict(first.cameras),
        "state dimensions": len(robot.observation.state),
        "action dimensions": robot.action.dim,
        "action rate": float(robot.action.rate_hz) if robot.action.dim else float(fps),
    }
    found = {
        "fps": episode.fps,
        "storage": dict(episode.storage),
        "camera names": sorted(episode.cameras),
        "image shapes": dict(episode.cameras),
        "state dimensions": episode.state_dim,
        "action dimensions": episode.action_dim,
        "action rate": float(fps),
    }
    for name, value in expected.items():
        if found[name] != value:
            raise DataError(
                f"{episode.folder}: {name}: the dataset has {value}, this episode {found[name]}; stage it again"
            )


def _write_data(
    root: Path,
    episodes: list[StagedEpisode],
    tasks: list[str],
    cameras: list[str],
    fps: float,
    storage: VideoStorage | ImageStorage,
    limit_mb: float,
    rows: list[dict[str, Any]],
) -> dict[str, np.ndarray]:
    """Write data/*.parquet, one row group per episode; fill `rows`; return the numeric columns of all episodes."""
    features = [paths.CAMERA_PREFIX + camera for camera in cameras] if isinstance(storage, ImageStorage) else []
    schema = paths.data_schema(
        state_dim=episodes[0].state_dim, action_dim=episodes[0].action_dim, image_features=features
    )
    kept: dict[str, list[np.ndarray]] = {}
    writer, number, size, start = None, -1, 0, 0
    for k, episode in enumerate(tqdm(episodes, desc="data", unit="episode", disable=None)):
        state, actions = episode.arrays()
        frame = np.arange(episode.length)
        numbers = {
            paths.STATE: state,
            paths.ACTION: actions,
            "timestamp": (frame / fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(episode.length, k),
            "index": frame + start,
            "task_index": np.full(episode.length, tasks.index(episode.task)),
        }
        images = {key: episode.images(camera) for key, camera in zip(features, cameras, strict=False)}
        columns = [images[f.name] if f.name in images else _column(numbers[f.name], f.type) for f in schema]
        table = pa.Table.from_arrays(columns, schema=schema)
        if writer is None or size + table.nbytes > limit_mb * _MB:
            if writer is not None:
                writer.close()
            number, size = number + 1, 0
            path = new_file(root, paths.DATA_PATH, number)
            writer = pq.ParquetWriter(
                path, schema, compression="snappy", use_dictionary=not features, write_page_checksum=True
            )
        writer.write_table(table, row_group_size=max(episode.length, 1))
        size += table.nbytes
        chunk, file = paths.chunk_and_file(number)
        stats = {key: vector_stats(numbers[key]) for key in (paths.STATE, paths.ACTION) if numbers[key].shape[1]}
        stats |= index_stats({key: numbers[key] for key in paths.DEFAULT_FEATURES})
        for camera in cameras:
            stats[paths.CAMERA_PREFIX + camera] = image_stats(episode.pixel_histogram(camera), episode.length)
        rows[k].update(
            {
                "episode_index": k,
                "tasks": [episode.task],
                "length": episode.length,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": start,
                "dataset_to_index": start + episode.length,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                **{f"stats/{key}/{name}": value for key, group in stats.items() for name, value in group.items()},
            }
        )
        start += episode.length
        for key, value in numbers.items():
            kept.setdefault(key, []).append(value)
    if writer is not None:
        writer.close()
    return {key: np.concatenate(parts) for key, parts in kept.items()}


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size) if pa.types.is_fixed_size_list(kind) else flat


def _write_videos(
    root: Path,
    key: str,
    camera: str,
    episodes: list[StagedEpisode],
    fps: float,
    limit_mb: float,
    rows: list[dict[str, Any]],
) -> None:
    """Join the camera's videos file by file; fill in where each episode begins and ends (seconds in its file)."""
    groups: list[list[int]] = []
    size, header = 0, b""
    for k, episode in enumerate(episodes):
        video = episode.video(camera)
        bytes_here, header_here = video.stat().st_size, codec_header(video)
        if not groups or size + bytes_here > limit_mb * _MB or header_here != header:
            groups.append([])
            size = 0
        groups[-1].append(k)
        size, header = size + bytes_here, header_here
    rate = frame_rate(fps)
    for number, group in enumerate(tqdm(groups, desc=key, unit="file", disable=None)):
        chunk, file = paths.chunk_and_file(number)
        target = new_file(root, paths.VIDEO_PATH, number, video_key=key)
        lengths = [episodes[k].length for k in group]
        join_videos([episodes[k].video(camera) for k in group], target, fps=fps, lengths=lengths)
        begin = 0
        for k, length in zip(group, lengths, strict=True):
            rows[k][f"videos/{key}/chunk_index"] = chunk
            rows[k][f"videos/{key}/file_index"] = file
            rows[k][f"videos/{key}/from_timestamp"] = float(begin / rate)
            rows[k][f"videos/{key}/to_timestamp"] = float((begin + length) / rate)
            begin += length
