"""meta/ of LeRobotDataset v3.0: tables in parquet, many episodes per data and video file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.columns import read_numbers
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.metadata import Metadata, Tasks, episode_gaps
from lara.data.sources.lerobot.tables import opened, read_opened, read_parquet
from lara.data.sources.source import Finding
from lara.errors import DataError
from lara.store.records import read_json

_NEEDED = ("episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index")


def read_v3(root: Path, info: Mapping[str, Any], cameras: Mapping[str, str]) -> Metadata:
    """cameras: name -> feature, of those used. Raises DataError for tables that are damaged or contradictory."""
    tasks, notes = _tasks(root)
    table = _episode_table(root)
    numbers = _whole(root, table, "episode_index")
    notes += episode_gaps(root / "meta/episodes", numbers)
    about = read_json(root / paths.LARA, DataError) if (root / paths.LARA).exists() else None
    episodes, more = _episodes(root, info, table, numbers, cameras, _episode_infos(root, about, numbers))
    return Metadata(tasks=tasks, episodes=episodes, notes=(*notes, *more))


def _tasks(root: Path) -> tuple[Tasks, list[Finding]]:
    """Instruction of each task index: an index column of strings beside `task_index`."""
    path = root / paths.TASKS
    table = read_parquet(path)
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    texts = [name for name, kind in kinds.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    if "task_index" not in kinds or len(texts) != 1:
        raise DataError(f"{path}: expected the columns task_index and one of strings, got {table.column_names}")
    return Tasks.of(
        path, _whole(root, {"task_index": table["task_index"].to_pylist()}, "task_index"), table[texts[0]].to_pylist()
    )


def _episode_table(root: Path) -> dict[str, list[Any]]:
    files = sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet"))
    if not files:
        raise DataError(f"{root}/meta/episodes: expected chunk-*/file-*.parquet, found none")
    rows: dict[str, list[Any]] = {}
    for path in files:
        with opened(path) as file:
            names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
            missing = sorted(set(_NEEDED) - set(names))
            if missing:
                raise DataError(f"{path}: the columns {missing} are missing")
            table = read_opened(path, file, names)
        for name, values in table.to_pydict().items():
            rows.setdefault(name, []).extend(values)
    count = len(rows["episode_index"])
    uneven = sorted(name for name, values in rows.items() if len(values) != count)
    if uneven:
        raise DataError(f"{root}/meta/episodes: the columns {uneven} are in some of its files and not in others")
    return rows


def _whole(root: Path, table: Mapping[str, list[Any]], name: str) -> list[int]:
    """A column of whole numbers, floats that are whole included."""
    values = table[name]
    if all(type(v) is int for v in values):
        return values
    for k, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value != int(value):
            raise DataError(f"{root}/meta: row {k} of '{name}' should be a whole number, got {value!r}")
    return [int(v) for v in values]


def _episode_infos(root: Path, about: Any, numbers: list[int]) -> list[Mapping[str, Any]]:
    """The recorder's facts about each episode; by its number where others were taken out of the episode table."""
    if about is None:
        return [{}] * len(numbers)
    facts = about.get("episodes") if isinstance(about, dict) else None
    if (
        not isinstance(facts, list)
        or about.get("format") != 1
        or len(facts) < max([len(numbers), *(n + 1 for n in numbers)])
    ):
        raise DataError(f"{root / paths.LARA}: expected format 1 and facts about {len(numbers)} episodes")
    return [facts[number] for number in numbers]


def _episodes(
    root: Path,
    info: Mapping[str, Any],
    table: Mapping[str, list[Any]],
    numbers: list[int],
    cameras: Mapping[str, str],
    extra: list[Mapping[str, Any]],
) -> tuple[tuple[EpisodeRow, ...], list[Finding]]:
    columns = {name: _whole(root, table, name) for name in _NEEDED}
    lengths, begins, ends = columns["length"], columns["dataset_from_index"], columns["dataset_to_index"]
    _require_order(root, numbers, lengths, begins, ends)
    notes: list[Finding] = []
    places = list(zip(columns["data/chunk_index"], columns["data/file_index"], strict=True))
    files = _files(root, info["data_path"], places, {})
    first_rows = _first_rows(files, lengths, numbers)
    videos = {
        camera: _video_places(root, info, table, key)
        for camera, key in cameras.items()
        if info["features"][key]["dtype"] == "video"
    }
    tasks = table.get("tasks") or [None] * len(numbers)
    untold = sum(text is None for text in tasks)
    if untold:
        said = f"{untold} episodes do not say their tasks; those of their rows hold"
        notes.append(
            Finding(
                severity="unusual",
                kind="episodes without tasks",
                where=f"{root}/meta/episodes",
                said=said,
                count=untold,
            )
        )
    episodes, start = [], 0
    for k, number in enumerate(numbers):
        episodes.append(
            EpisodeRow(
                index=k,
                number=number,
                length=lengths[k],
                start=start,
                tasks=tuple(str(text) for text in tasks[k] or () if text is not None),
                data=files[k],
                first_row=first_rows[k],
                videos={camera: place[0][k] for camera, place in videos.items()},
                begins={camera: place[1][k] for camera, place in videos.items()},
                spans={camera: place[2][k] for camera, place in videos.items()},
                info=extra[k],
            )
        )
        start += lengths[k]
    return tuple(episodes), notes


def _require_order(root: Path, numbers: list[int], lengths: list[int], begins: list[int], ends: list[int]) -> None:
    """Frames of different episodes must be different frames; frames of no episode may lie between them."""
    expected = 0
    for number, length, begin, end in zip(numbers, lengths, begins, ends, strict=True):
        if length < 1 or end - begin != length or begin < expected:
            raise DataError(
                f"{root}/meta/episodes: episode {number} claims frames {begin}..{end - 1} and length {length}, but "
                f"should begin at {expected}: episodes overlap or are empty"
            )
        expected = end


def _files(root: Path, template: str, places: list[tuple[int, int]], more: Mapping[str, str]) -> list[Path]:
    known = {
        place: paths.fill_path(root, template, {"chunk_index": place[0], "file_index": place[1], **more})
        for place in set(places)
    }
    return [known[place] for place in places]


def _first_rows(files: list[Path], lengths: list[int], numbers: list[int]) -> list[int]:
    """Row of each episode's first frame in its file: one after the other, unless episodes were taken out of the table.

    Then what the rows say of themselves decides, because a removed episode's rows may be there or not.
    """
    if numbers == list(range(len(numbers))):
        rows, before = [], dict.fromkeys(files, 0)
        for path, length in zip(files, lengths, strict=True):
            rows.append(before[path])
            before[path] += length
        return rows
    found: dict[tuple[Path, int], int] = {}
    for path in dict.fromkeys(files):
        inside, first = np.unique(read_numbers(path), return_index=True)
        found |= {(path, int(number)): int(row) for number, row in zip(inside, first, strict=True)}
    for path, number in zip(files, numbers, strict=True):
        if (path, number) not in found:
            raise DataError(f"{path}: has no rows of episode {number}, which the episode table places there")
    return [found[path, number] for path, number in zip(files, numbers, strict=True)]


def _video_places(
    root: Path, info: Mapping[str, Any], table: Mapping[str, list[Any]], key: str
) -> tuple[list[Path], list[float], list[int | None]]:
    """(file, seconds at which it begins, frames up to `to_timestamp`) of each episode."""
    names = [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    missing = [name for name in names if name not in table]
    if missing or not isinstance(info.get("video_path"), str):
        raise DataError(
            f"{root}: video features need video_path in info.json and the episode columns {missing or names}"
        )
    places = list(zip(_whole(root, table, names[0]), _whole(root, table, names[1]), strict=True))
    files = _files(root, info["video_path"], places, {"video_key": key})
    begins = [_seconds(root, names[2], k, value) for k, value in enumerate(table[names[2]])]
    ends = table.get(f"videos/{key}/to_timestamp") or [None] * len(begins)
    fps = float(info["fps"])
    spans = [
        None if end is None else round((_seconds(root, f"videos/{key}/to_timestamp", k, end) - begin) * fps)
        for k, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]
    return files, begins, spans


def _seconds(root: Path, name: str, row: int, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise DataError(f"{root}/meta/episodes: row {row} of '{name}' should be a time in seconds, got {value!r}")
    return float(value)
