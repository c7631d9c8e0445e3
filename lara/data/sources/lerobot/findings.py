"""Everything that is wrong or unusual in a LeRobotDataset, cheap things first; many episodes are looked at at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lara.data.sources.lerobot.columns import column_quirks
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.examined import Examined, error, unusual
from lara.data.sources.lerobot.number_findings import number_findings
from lara.data.sources.lerobot.pictures import DeepPictureError, look_at_first
from lara.data.sources.lerobot.source import LeRobotSource
from lara.data.sources.lerobot.tables import is_pointer, opened, pointer_said
from lara.errors import DataError

_CHUNK = 256  # frames decoded at once


def examine(source: LeRobotSource, *, decode: bool, cameras: Sequence[str]) -> Iterator[Examined]:
    """All findings. cameras: those whose videos are looked at."""
    yield from ((note, ()) for note in source.notes)
    bad: set[int] = set()
    for camera in cameras:
        if camera in source.depth:
            yield error("depth camera", source.root, source.depth_said(camera))
    cameras = [camera for camera in cameras if camera not in source.depth]
    stages = [_table_findings(source), number_findings(source, bad)]
    stages += [_video_findings(source, camera, bad) for camera in cameras if source.stored[camera] == "video"]
    stages += [_picture_findings(source, camera, bad) for camera in cameras if source.stored[camera] == "image"]
    for stage in stages:
        for finding, episodes in stage:
            bad.update(episodes)
            yield finding, episodes
    if decode:
        yield from _decoding_findings(source, cameras, bad)


def _table_findings(source: LeRobotSource) -> Iterator[Examined]:
    """Every data file is there, opens, and has the rows of its episodes and of no others."""
    episodes: dict[Path, list[EpisodeRow]] = defaultdict(list)
    for row in source.rows:
        episodes[row.data].append(row)
    numbers = {row.number for row in source.rows}
    left, first = 0, None
    quirks: Counter[str] = Counter()
    for path, rows in episodes.items():
        inside = [row.index for row in rows]
        try:
            with opened(path) as file:
                found, schema = file.metadata.num_rows, file.schema_arrow
                names = set(schema.names)
            wanted = sum(row.length for row in rows)
            needed = max(row.first_row + row.length for row in rows)
            missing = sorted({*source.keys.state.columns, *source.keys.action.columns} - names)
            if missing:
                raise DataError(f"{path}: columns {missing} are missing; it has {sorted(names)}")
            quirks.update(column_quirks(schema, source.keys))
            if found < max(wanted, needed):
                inside = [row.index for row in rows if row.first_row + row.length > found]
                raise DataError(f"{path}: its episodes add up to {wanted} rows, the file has {found}; copy it again")
            if found > wanted:
                others = set(np.unique(_numbers(source, path)).tolist()) - {row.number for row in rows}
                if not others or others & numbers:
                    raise DataError(
                        f"{path}: its episodes add up to {wanted} rows, the file has {found}; copy it again"
                    )
                left, first = left + found - wanted, first or path
        except DataError as fault:
            yield error("data file", path, fault, inside)
    for said, count in sorted(quirks.items()):
        yield unusual("column types", next(iter(episodes)), f"{count} data files: {said}", count)
    if left:
        said = f"{left} rows of episodes that the episode table does not have (taken out of it) are not used"
        yield unusual("rows of no episode", first, said, left)


def _numbers(source: LeRobotSource, path: Path) -> np.ndarray:
    numbers = source.columns(path).episode_index
    if numbers is None:
        raise DataError(f"{path}: has no column 'episode_index', and more rows than its episodes")
    return numbers


def _video_findings(source: LeRobotSource, camera: str, bad: set[int]) -> Iterator[Examined]:
    """Every video is there and holds each episode's own frames."""
    by_file: dict[Path, list[EpisodeRow]] = defaultdict(list)
    for row in source.rows:
        if row.index not in bad:
            by_file[row.videos[camera]].append(row)
    tails, first = 0, None
    for path, rows in by_file.items():
        try:
            count = source.reader.count(path)
        except DataError as fault:
            said = pointer_said(path) if is_pointer(path) else fault
            yield error("video file", path, str(said), [row.index for row in rows])
            continue
        found, unused = _stretches(source, camera, path, rows, count)
        yield from found
        if unused and not found:
            tails, first = tails + unused, first or path
    if tails:
        said = f"{tails} episodes of camera '{camera}' leave frames of their video unused (discarded takes, cut rows)"
        yield unusual("unused video frames", first, said, tails)


def _stretches(
    source: LeRobotSource, camera: str, path: Path, rows: list[EpisodeRow], count: int
) -> tuple[list[Examined], int]:
    """The faults of the episodes in one video of `count` frames, and after how many episodes frames stand unused."""
    ordered = sorted(rows, key=lambda row: row.begins[camera])
    begins = np.array([row.begins[camera] for row in ordered]) * source.fps
    firsts = np.round(begins).astype(np.int64)
    heads, tails = np.zeros(len(rows), np.int64), np.array([row.length for row in ordered], np.int64)
    for k, row in enumerate(ordered):
        if (shown := source.offsets_of(row.index)) is not None:
            heads[k], tails[k] = shown[0], shown[-1] + 1
    starts, ends = firsts + heads, firsts + tails
    before = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]])
    found: list[Examined] = []
    for k in np.flatnonzero(np.abs(begins - firsts) > 0.25).tolist():
        said = f"episode {ordered[k].index} begins between two frames ({ordered[k].begins[camera]} s)"
        found.append(error("episode between frames", path, said, [ordered[k].index]))
    for k in np.flatnonzero(starts < before).tolist():
        said = (
            f"episode {ordered[k].index} begins at frame {starts[k]}, inside episode "
            f"{ordered[int(np.argmax(ends[:k]))].index if k else None}"
        )
        found.append(error("episodes overlap in video", path, said, [ordered[k].index]))
    for k in np.flatnonzero(ends > count).tolist():
        said = (
            f"episode {ordered[k].index} needs frames {starts[k]}..{ends[k] - 1}, the video has {count}; "
            f"its last {ends[k] - count} frames are missing"
        )
        found.append(error("video too short", path, said, [ordered[k].index]))
    following = np.append(firsts[1:], count)
    return found, int(np.count_nonzero((following > ends) | (heads > 0)))


def _picture_findings(source: LeRobotSource, camera: str, bad: set[int]) -> Iterator[Examined]:
    """The first picture of every data file says of what kind they are."""
    by_file: dict[Path, list[EpisodeRow]] = defaultdict(list)
    for row in source.rows:
        if row.index not in bad:
            by_file[row.data].append(row)
    for path, rows in by_file.items():
        key = source.keys.cameras[camera]
        try:
            look_at_first(path, key)
        except DeepPictureError as fault:
            yield error("pictures of another kind", path, f"column '{key}': {fault}", [r.index for r in rows])
        except DataError:
            continue  # a single damaged picture is found by decoding, under its episode and frame


def _decoding_findings(source: LeRobotSource, cameras: Sequence[str], bad: set[int]) -> Iterator[Examined]:
    for row in tqdm(source.rows, desc="validate", unit="episode", disable=None):
        for camera in cameras if row.index not in bad else ():
            try:
                for begin in range(0, row.length, _CHUNK):
                    source.frames(row.index, camera, np.arange(begin, min(begin + _CHUNK, row.length)))
            except DataError as fault:
                yield error("frame", source.root, fault, [row.index])
