"""meta/ of LeRobotDataset v2.0 and v2.1: JSON lines, one data file and one video per camera for each episode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.metadata import Metadata, Tasks, episode_gaps
from lara.data.sources.source import Finding
from lara.errors import DataError
from lara.store.files import explained
from lara.store.lines import LARGEST
from lara.store.plain import parse_json, read_plain

EPISODES, TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"
EPISODES_STATS = "meta/episodes_stats.jsonl"


def read_v2(root: Path, info: Mapping[str, Any], cameras: Mapping[str, str]) -> Metadata:
    """cameras: name -> feature, of those used. Raises DataError for lines that are damaged or contradict themselves."""
    said = read_rows(root / TASKS, ("task_index", "task"))
    tasks, notes = Tasks.of(root / TASKS, [row["task_index"] for row in said], [row["task"] for row in said])
    rows = read_rows(root / EPISODES, ("episode_index", "length"))
    for name in ("episode_index", "length"):
        wrong = [k for k, row in enumerate(rows) if type(row[name]) is not int]
        if wrong:
            raise DataError(f"{root / EPISODES}:{wrong[0] + 1}: {name} should be a whole number")
    rows.sort(key=lambda row: row["episode_index"])
    numbers = [row["episode_index"] for row in rows]
    notes += episode_gaps(root / EPISODES, numbers)
    size = info.get("chunks_size", paths.FILES_PER_CHUNK)
    if type(size) is not int or size < 1:
        raise DataError(f"{root / paths.INFO}: chunks_size must be a positive whole number, got {size!r}")
    videos = {name: key for name, key in cameras.items() if info["features"][key]["dtype"] == "video"}
    if videos and not isinstance(info.get("video_path"), str):
        raise DataError(f"{root / paths.INFO}: video features need video_path")
    episodes, start = [], 0
    for k, row in enumerate(rows):
        if row["length"] < 1:
            raise DataError(f"{root / EPISODES}: episode {numbers[k]} has length {row['length']}; remove its line")
        where = {"episode_chunk": numbers[k] // size, "episode_index": numbers[k]}
        episodes.append(
            EpisodeRow(
                index=k,
                number=numbers[k],
                length=row["length"],
                start=start,
                tasks=_texts(root, k, row.get("tasks")),
                data=paths.fill_path(root, info["data_path"], where),
                first_row=0,
                videos={
                    name: paths.fill_path(root, info["video_path"], {"video_key": key, **where})
                    for name, key in videos.items()
                },
                begins=dict.fromkeys(videos, 0.0),
                spans=dict.fromkeys(videos),
            )
        )
        start += row["length"]
    untold = sum(row.get("tasks") is None for row in rows)
    if untold:
        said_so = f"{untold} episodes do not say their tasks; those of their rows hold"
        notes.append(
            Finding(
                severity="unusual",
                kind="episodes without tasks",
                where=str(root / EPISODES),
                said=said_so,
                count=untold,
            )
        )
    return Metadata(tasks=tasks, episodes=tuple(episodes), notes=tuple(notes))


def _texts(root: Path, k: int, given: Any) -> tuple[str, ...]:
    if not (given is None or isinstance(given, list)) or not all(isinstance(t, str | None) for t in given or ()):
        raise DataError(f"{root / EPISODES}: 'tasks' of its episode {k} should be a list of texts, got {given!r}")
    return tuple(text for text in given or () if text is not None)


def read_rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """One object per line. Raises DataError, with file and line, for a line that is none or lacks a key.

    The last line need not end: other recorders leave its newline out.
    """
    try:
        content = read_plain(path, DataError, limit=LARGEST)
    except FileNotFoundError as missing:
        raise DataError(
            f"{path}: expected JSON lines, found nothing; copy it from the source of the dataset"
        ) from missing
    except OSError as refused:
        raise explained(refused, path, "read") from refused
    rows = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"{path}:{number}", DataError)
        if not isinstance(row, dict) or not set(needed) <= set(row):
            raise DataError(f"{path}:{number}: expected an object with {', '.join(needed)}")
        rows.append(row)
    return rows
