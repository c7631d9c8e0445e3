"""Open a LeRobotDataset v3.0 from its metadata; `validate` compares the metadata with the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from lara.data.frames.decode import VideoReader
from lara.data.robot import RobotCard
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.source import EpisodeArrays, EpisodeRow, LeRobotSource, read_parquet
from lara.data.sources.lerobot.validate import validate
from lara.errors import DataError
from lara.store.records import read_json

__all__ = ["EpisodeArrays", "EpisodeRow", "LeRobotSource", "open_dataset", "validate"]


def open_dataset(root: Path | str, *, reader: VideoReader | None = None) -> LeRobotSource:
    """Read meta/ (nothing else yet). `reader` decodes video; PyAV when not given.

    Raises DataError for another version than v3.0 and for metadata that is missing, damaged or contradicts itself.
    """
    root = Path(root)
    info = _read_info(root)
    tasks = _read_tasks(root)
    about = read_json(root / paths.LARA, DataError) if (root / paths.LARA).exists() else None
    rows = _read_episode_table(root)
    extra = _episode_infos(root, about, len(rows["episode_index"]))
    episodes = _episodes(root, info, rows, extra)
    for name, found in (("total_episodes", len(episodes)), ("total_frames", sum(e.length for e in episodes))):
        if info[name] != found:
            raise DataError(f"{root / paths.INFO}: {name} is {info[name]}, the episode table has {found}")
    robot = RobotCard.from_dict(about["robot"]) if about else None
    return LeRobotSource(root=root, info=info, tasks=tasks, episodes=episodes, robot=robot, reader=reader)


def _read_info(root: Path) -> dict[str, Any]:
    path = root / paths.INFO
    info = read_json(path, DataError)
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version != paths.VERSION:
        raise DataError(
            f"{path}: this reader knows LeRobotDataset {paths.VERSION}, found {version!r}; convert older ones "
            "with lerobot's own script: python -m lerobot.datasets.v30.convert_dataset_v21_to_v30"
        )
    needed = {"fps", "features", "data_path", "total_episodes", "total_frames"}
    if not needed <= set(info):
        raise DataError(f"{path}: the keys {sorted(needed - set(info))} are missing")
    if not isinstance(info["fps"], int | float) or not info["fps"] > 0:
        raise DataError(f"{path}: fps must be a positive number, got {info['fps']!r}")
    features = info["features"]
    if not isinstance(features, dict) or not all(
        isinstance(f, dict) and "dtype" in f and isinstance(f.get("shape"), list) for f in features.values()
    ):
        raise DataError(f"{path}: every feature needs a dtype and a shape")
    return info


def _read_tasks(root: Path) -> tuple[str, ...]:
    """Instruction of each task index: an index column of strings beside `task_index`."""
    path = root / paths.TASKS
    table = read_parquet(path)
    texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
    texts += [name for name in table.column_names if pa.types.is_large_string(table.schema.field(name).type)]
    if "task_index" not in table.column_names or len(texts) != 1:
        raise DataError(f"{path}: expected the columns task_index and one of strings, got {table.column_names}")
    numbers, names = table["task_index"].to_pylist(), table[texts[0]].to_pylist()
    if sorted(numbers) != list(range(len(numbers))):
        raise DataError(f"{path}: task indices should be 0..{len(numbers) - 1}, got {sorted(numbers)[:10]}")
    return tuple(name for _, name in sorted(zip(numbers, names, strict=True)))


def _read_episode_table(root: Path) -> dict[str, list[Any]]:
    tables = sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet"))
    if not tables:
        raise DataError(f"{root}/meta/episodes: expected chunk-*/file-*.parquet, found none")
    rows: dict[str, list[Any]] = {}
    for path in tables:
        table = read_parquet(path)
        keep = [name for name in table.column_names if not name.startswith("stats/")]
        for name, values in table.select(keep).to_pydict().items():
            rows.setdefault(name, []).extend(values)
    needed = {"episode_index", "tasks", "length", "data/chunk_index", "data/file_index", "dataset_from_index"}
    needed.add("dataset_to_index")
    if not needed <= set(rows):
        raise DataError(f"{tables[0]}: the columns {sorted(needed - set(rows))} are missing")
    numbers = rows["episode_index"]
    if numbers != list(range(len(numbers))):
        raise DataError(f"{root}/meta/episodes: episodes should be numbered 0..{len(numbers) - 1} in order")
    return rows


def _episode_infos(root: Path, about: Any, count: int) -> list[Mapping[str, Any]]:
    if about is None:
        return [{}] * count
    if not isinstance(about, dict) or about.get("format") != 1 or len(about.get("episodes", ())) != count:
        raise DataError(f"{root / paths.LARA}: expected format 1 and facts about {count} episodes")
    return about["episodes"]


def _episodes(
    root: Path, info: Mapping[str, Any], rows: Mapping[str, list[Any]], extra: list[Mapping[str, Any]]
) -> tuple[EpisodeRow, ...]:
    videos = {paths.camera_name(key): key for key, f in info["features"].items() if f["dtype"] == "video"}
    columns = [
        f"videos/{key}/{name}" for key in videos.values() for name in ("chunk_index", "file_index", "from_timestamp")
    ]
    missing = [name for name in columns if name not in rows]
    if missing or (videos and not isinstance(info.get("video_path"), str)):
        raise DataError(
            f"{root}: video features need video_path in info.json and the episode columns {missing or columns}"
        )
    episodes: list[EpisodeRow] = []
    rows_before: dict[Path, int] = {}
    for k in range(len(rows["episode_index"])):
        length = int(rows["length"][k])
        start, end = int(rows["dataset_from_index"][k]), int(rows["dataset_to_index"][k])
        expected = episodes[-1].start + episodes[-1].length if episodes else 0
        if length < 1 or end - start != length or start != expected:
            raise DataError(
                f"{root}/meta/episodes: episode {k} claims frames {start}..{end - 1} and length {length}, but should "
                f"begin at {expected}: episodes overlap, leave a gap or are empty"
            )
        where = {"chunk_index": rows["data/chunk_index"][k], "file_index": rows["data/file_index"][k]}
        data = paths.fill_path(root, info["data_path"], where)
        files, begins = {}, {}
        for camera, key in videos.items():
            place = {name: rows[f"videos/{key}/{name}"][k] for name in ("chunk_index", "file_index")}
            files[camera] = paths.fill_path(root, info["video_path"], {"video_key": key, **place})
            begins[camera] = float(rows[f"videos/{key}/from_timestamp"][k])
        episodes.append(
            EpisodeRow(
                index=k,
                length=length,
                start=start,
                tasks=tuple(rows["tasks"][k]),
                data=data,
                first_row=rows_before.get(data, 0),
                videos=files,
                begins=begins,
                info=extra[k],
            )
        )
        rows_before[data] = rows_before.get(data, 0) + length
    return tuple(episodes)
