"""A LeRobotDataset in use: its episodes, numbers and exact frames."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.frames.decode import PyAVReader, VideoReader
from lara.data.robot import RobotCard, RobotHints
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.clock import offsets, regular
from lara.data.sources.lerobot.columns import Columns, joined, read_actions, read_columns, read_times, require_rows
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.features import is_depth, picture_shape
from lara.data.sources.lerobot.hints import hints_of
from lara.data.sources.lerobot.keys import Keys
from lara.data.sources.lerobot.metadata import Tasks
from lara.data.sources.lerobot.pictures import read_pictures
from lara.data.sources.lerobot.tables import is_pointer, pointer_said
from lara.data.sources.source import Episode, EpisodeArrays, Finding
from lara.errors import ConfigError, DataError, nearest

_OPEN_TABLES = 4
_BLOCK = 500_000  # rows


class LeRobotSource:
    """A `Source`. Made by `open_dataset`. Reads lazily, keeps a few tables and video files open.

    Beyond the protocol:

    Attributes:
        info: info.json.
        rows: `episodes`, with their places in the files.
        keys: the columns in use.
        notes: what is unusual in meta/ and was read right.
        stored: camera -> "video" | "image".
        depth: cameras that cannot be read as RGB.
        robot: the card of meta/lara.json; None for datasets of other makers.
    """

    def __init__(
        self,
        *,
        root: Path,
        info: Mapping[str, Any],
        keys: Keys,
        tasks: Tasks,
        episodes: tuple[EpisodeRow, ...],
        robot: RobotCard | None,
        notes: tuple[Finding, ...] = (),
        reader: VideoReader | None = None,
    ) -> None:
        self.root, self.info, self.keys, self.notes = root, info, keys, notes
        self.rows = episodes
        self.episodes: Sequence[Episode] = episodes
        self.fps = float(info["fps"])
        self.task_numbers, self.tasks = tasks, tasks.texts
        self.robot = robot
        self.reader: VideoReader = PyAVReader() if reader is None else reader
        features = info["features"]
        self.cameras = tuple(keys.cameras)
        self.stored = {camera: features[key]["dtype"] for camera, key in keys.cameras.items()}
        self.shapes: Mapping[str, tuple[int, int, int]] = {
            c: picture_shape(root / paths.INFO, key, features[key]) for c, key in keys.cameras.items()
        }
        self.depth = frozenset(camera for camera, key in keys.cameras.items() if is_depth(features[key]))
        self.action_names, self.state_names = keys.action.names, keys.state.names
        self._tables: OrderedDict[Path, Columns] = OrderedDict()
        self._offsets: dict[int, np.ndarray] = {}  # of the episodes whose rows are not the frames 0, 1, 2, ...
        self._untold: dict[int, str] = {}  # of the episodes whose timestamps say no frame: what is wrong with them
        self._timed: set[Path] = set()  # data files whose timestamps have been looked at
        self._by_file: dict[Path, list[int]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def state_dim(self) -> int:
        """S."""
        return len(self.state_names)

    @property
    def action_dim(self) -> int:
        """A."""
        return len(self.action_names)

    @property
    def frame_count(self) -> int:
        """Frames of all episodes."""
        return self.rows[-1].start + self.rows[-1].length if self.rows else 0

    @property
    def version(self) -> str:
        """Of the layout: "v3.0"."""
        return str(self.info["codebase_version"])

    def with_episodes(self, episodes: tuple[EpisodeRow, ...], notes: tuple[Finding, ...]) -> LeRobotSource:
        """The same dataset with these episodes of it only, and more notes."""
        return LeRobotSource(
            root=self.root,
            info=self.info,
            keys=self.keys,
            tasks=self.task_numbers,
            episodes=episodes,
            robot=self.robot,
            notes=(*self.notes, *notes),
            reader=self.reader,
        )

    def hints(self) -> RobotHints:
        """What the files say about the robot without being a card."""
        return hints_of(self.root, self.info, self.keys)

    def arrays(self, episode: int) -> EpisodeArrays:
        """See `Source.arrays`."""
        row = self._row(episode)
        columns = self.columns(row.data)
        end = row.first_row + row.length
        require_rows(row.data, columns, episode=episode, begin=row.first_row, end=end)
        return self.arrays_of(columns.rows(row.first_row, end), np.array([row.length]))

    def all_arrays(self) -> EpisodeArrays:
        """`arrays` of all episodes, one after the other: every file is read once and nothing is done per episode."""
        parts, lengths = [], []
        for rows, columns in self.blocks(self.rows):
            parts.append(self.arrays_of(columns, np.array([row.length for row in rows])))
            lengths += [row.length for row in rows]
        if not parts:
            return self.arrays_of(self._no_rows(), np.zeros(0, np.int64))
        names = EpisodeArrays.__dataclass_fields__
        return EpisodeArrays(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def all_actions(self) -> Iterator[np.ndarray]:
        """(n, A) float32, file by file: the actions of all episodes, without their other numbers."""
        for path, stretches in self.stretches():
            actions = read_actions(path, self.keys)
            yield from (actions[begin:end] for begin, end in stretches)

    def stretches(self) -> Iterator[tuple[Path, list[tuple[int, int]]]]:
        """(data file, [(begin, end), ...]): which rows of which files are all episodes, in their order."""
        for inside in _runs(self.rows):
            yield inside[0].data, list(_stretches(inside))

    def blocks(
        self, rows: Sequence[EpisodeRow], *, faults: list[tuple[list[EpisodeRow], DataError]] | None = None
    ) -> Iterator[tuple[list[EpisodeRow], Columns]]:
        """These episodes, some hundred thousand frames at a time, with their rows one after the other.

        faults: where to note files that are unreadable or end before their episodes do, with the episodes that are
        left out because of it. Without it the first of them raises DataError.
        """
        kept: list[EpisodeRow] = []
        parts: list[Columns] = []
        for inside in _runs(rows):
            path = inside[0].data
            try:
                columns = self.columns(path)
                for row in inside:
                    end = row.first_row + row.length
                    require_rows(path, columns, episode=row.index, begin=row.first_row, end=end)
            except DataError as fault:
                if faults is None:
                    raise
                faults.append((inside, fault))
                continue
            parts += [columns.rows(begin, end) for begin, end in _stretches(inside)]
            kept += inside
            if sum(map(len, parts)) > _BLOCK:
                yield kept, joined(parts)
                kept, parts = [], []
        if parts:
            yield kept, joined(parts)

    def arrays_of(self, columns: Columns, lengths: np.ndarray) -> EpisodeArrays:
        """The rows of episodes of these lengths, which follow one another."""
        count, starts = len(columns), np.cumsum(lengths) - lengths
        if columns.timestamp is None:
            timestamp = (np.arange(count) - np.repeat(starts, lengths)) / self.fps
        else:
            timestamp = columns.timestamp - np.repeat(columns.timestamp[starts], lengths) if count else np.zeros(0)
        if columns.task is None and len(self.tasks) > 1:
            raise DataError(
                f"{self.root}: its data files have no column '{self.keys.task}', which would say the instruction of a "
                f"frame; name the column that does with data.format.keys.task"
            )
        place = np.zeros(count, np.int64) if columns.task is None else self.task_numbers.places(columns.task)
        return EpisodeArrays(
            state=columns.state,
            actions=columns.actions,
            real=np.full(count, self.action_dim > 0),
            task_index=place,
            timestamp=timestamp,
        )

    def frames(self, episode: int, camera: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Source.frames`."""
        row = self._row(episode)
        self._require_camera(camera)
        if camera in self.depth:
            raise DataError(self.depth_said(camera))
        wanted = np.asarray(indices, np.int64)
        if wanted.ndim != 1 or len(wanted) == 0 or wanted.min() < 0 or wanted.max() >= row.length:
            raise DataError(
                f"{self.root}: episode {episode} has frames 0..{row.length - 1}, asked for {wanted.tolist()[:8]}"
            )
        try:
            if self.stored[camera] == "video":
                images = self._decoded(row, camera, wanted)
            else:
                images = read_pictures(row.data, self.keys.cameras[camera], row.first_row + wanted)
        except DataError as error:
            raise DataError(f"episode {episode}, camera '{camera}', frames {_brief(wanted)}: {error}") from error
        if images.shape[1:] != self.shapes[camera]:
            raise DataError(
                f"{self.root}: episode {episode}, camera '{camera}': info.json promises {self.shapes[camera]} images, "
                f"found {images.shape[1:]}"
            )
        return images

    def depth_said(self, camera: str) -> str:
        """What to do about a camera that records distances."""
        others = [other for other in self.cameras if other not in self.depth]
        return (
            f"{self.root}: info.json says that camera '{camera}' records depth, which has no colours; leave it out "
            f"(data.cameras={[*others]}), or write it again as 8 bit RGB"
        )

    def files(self, camera: str) -> tuple[Path, ...]:
        """See `Source.files`."""
        self._require_camera(camera)
        video = self.stored[camera] == "video"
        return tuple(dict.fromkeys(row.videos[camera] if video else row.data for row in self.rows))

    def place(self, episode: int, camera: str) -> str:
        """See `Source.place`."""
        row = self._row(episode)
        self._require_camera(camera)
        if self.stored[camera] != "video":
            return f"{row.data.relative_to(self.root).as_posix()} rows {row.first_row}+{row.length}"
        rows = self.offsets_of(episode)
        shifted = "" if rows is None else f" frames {hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"
        file = row.videos[camera].relative_to(self.root).as_posix()
        return f"{file} from {row.begins[camera]!r} s, {row.length} frames{shifted}"

    def findings(self, *, decode: bool, cameras: Collection[str]) -> Iterator[Finding]:
        """See `Source.findings`."""
        from lara.data.sources.lerobot.findings import examine  # it reads sources

        for finding, _ in examine(self, decode=decode, cameras=tuple(cameras)):
            yield finding

    def tables(self) -> dict[Path, int]:
        """The files that hold the numbers, and how many rows each should have."""
        rows: dict[Path, int] = {}
        for row in self.rows:
            rows[row.data] = rows.get(row.data, 0) + row.length
        return rows

    def columns(self, path: Path) -> Columns:
        """All rows of one data file; the last few stay in memory."""
        if path in self._tables:
            self._tables.move_to_end(path)
            return self._tables[path]
        self._tables[path] = read_columns(path, self.keys)
        while len(self._tables) > _OPEN_TABLES:
            self._tables.popitem(last=False)
        return self._tables[path]

    def offsets_of(self, episode: int) -> np.ndarray | None:
        """(T,) which frames of its stretch of video an episode's rows show; None for 0, 1, 2, ... (see clock.py)."""
        row = self._row(episode)
        if row.data not in self._timed and row.videos:
            times = read_times(row.data)
            for other in self._episodes_in(row.data) if times is not None else ():
                assert times is not None
                ticks = times[other.first_row : other.first_row + other.length] * self.fps
                try:
                    if (found := self.offsets_from(other, ticks)) is not None:
                        self._offsets[other.index] = found
                except DataError as error:  # of another episode, perhaps
                    self._untold[other.index] = str(error)
            self._timed.add(row.data)
        if episode in self._untold:
            raise DataError(self._untold[episode])
        return self._offsets.get(episode)

    def remember_offsets(self, found: Mapping[int, np.ndarray], files: Collection[Path]) -> None:
        """All episodes of these data files have been looked at, and only these are not the frames 0, 1, 2, ..."""
        self._offsets.update(found)
        self._timed.update(files)

    def offsets_from(self, row: EpisodeRow, ticks: np.ndarray) -> np.ndarray | None:
        """`offsets_of` from the episode's times in periods. Raises DataError for times that say no frame."""
        if len(ticks) < row.length:
            last = row.first_row + row.length - 1
            raise DataError(
                f"{row.data}: episode {row.index} needs rows {row.first_row}..{last}, the file ends before them"
            )
        if regular(ticks, np.arange(len(ticks))).all():
            return None
        try:
            return offsets(ticks, span=self.span(row) if row.videos else row.length)
        except DataError as error:
            raise DataError(f"{row.data}: episode {row.index}, {error}") from error

    def span(self, row: EpisodeRow) -> int | None:
        """How many frames of video the episode has, the fewest of any camera; None where nothing says."""
        spans = []
        for camera, path in row.videos.items():
            said = row.spans[camera]
            spans.append(self.reader.count(path) if said is None and self.version != "v3.0" else said)
        known = [span for span in spans if span is not None]
        return min(known) if known else None

    def _decoded(self, row: EpisodeRow, camera: str, wanted: np.ndarray) -> np.ndarray:
        rows = self.offsets_of(row.index)
        times = row.begins[camera] + (wanted if rows is None else rows[wanted]) / self.fps
        try:
            return self.reader.frames(row.videos[camera], times, tolerance=0.25 / self.fps)
        except DataError as error:
            if is_pointer(row.videos[camera]):
                raise DataError(pointer_said(row.videos[camera])) from error
            raise

    def _episodes_in(self, path: Path) -> list[EpisodeRow]:
        if self._by_file is None:
            self._by_file = {}
            for row in self.rows:
                self._by_file.setdefault(row.data, []).append(row.index)
        return [self.rows[k] for k in self._by_file[path]]

    def _no_rows(self) -> Columns:
        none = np.zeros(0, np.int64)
        return Columns(
            state=np.zeros((0, self.state_dim), np.float32),
            actions=np.zeros((0, self.action_dim), np.float32),
            timestamp=np.zeros(0),
            task=none,
            frame_index=none,
            episode_index=none,
            index=none,
        )

    def _require_camera(self, camera: str) -> None:
        if camera not in self.cameras:
            raise ConfigError(f"{self.root}: no camera '{camera}'. {nearest(camera, self.cameras)}")

    def _row(self, episode: int) -> EpisodeRow:
        if not 0 <= episode < len(self.rows):
            raise DataError(f"{self.root}: has episodes 0..{len(self.rows) - 1}, asked for {episode}")
        return self.rows[episode]


def _runs(episodes: Sequence[EpisodeRow]) -> Iterator[list[EpisodeRow]]:
    """Episodes that follow one another and lie in one file."""
    run: list[EpisodeRow] = []
    for row in episodes:
        if run and row.data is not run[-1].data and row.data != run[-1].data:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _stretches(rows: Sequence[EpisodeRow]) -> Iterator[tuple[int, int]]:
    """Rows of one file that follow one another, as few (begin, end) as possible."""
    begin = end = rows[0].first_row
    for row in rows:
        if row.first_row != end:
            yield begin, end
            begin = row.first_row
        end = row.first_row + row.length
    yield begin, end


def _brief(numbers: np.ndarray) -> str:
    return str(numbers.tolist()) if len(numbers) <= 4 else f"{numbers.min()}..{numbers.max()}"
