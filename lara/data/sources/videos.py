"""A plain folder of videos as a source of episodes: one per file, one camera, no actions, no state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lara.data.frames.decode import PyAVReader
from lara.data.frames.index import VideoIndex
from lara.data.robot import RobotCard
from lara.data.sources.lerobot import paths as lerobot_paths
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.source import Episode, EpisodeArrays, Finding, Source
from lara.data.sources.video_files import SUFFIXES, Found, find_videos
from lara.data.sources.video_rates import common_rate, instants
from lara.errors import ConfigError, DataError, nearest
from lara.store.records import read_json

CAMERA = "video"
INSTRUCTIONS = "instructions.json"
_CHUNK = 256  # frames decoded at once


@dataclass(frozen=True, kw_only=True)
class Videos:
    """How a folder of videos is opened: every video below it, in the order of their relative paths.

    instructions.json in the folder may give {relative path: instruction}, then for every file; without it all
    instructions are empty.

    fps: None: all files must have one constant rate, the folder's. A number: every file is resampled to it, each frame
        the nearest one, whatever its own rate is and whether it varies; a gap of so many frames then means one time.
    damaged: files without content, git-lfs pointers and what cannot be read as a video "refuse" the folder, or are
        "left_out" of it, which its findings then say.
    """

    buildable: ClassVar[str] = "data"

    fps: float | None = None
    damaged: Literal["refuse", "left_out"] = "refuse"

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ConfigError(f"the rate to resample videos to should be 0..1000 frames per second, got {self.fps}")
        if self.damaged not in ("refuse", "left_out"):
            raise ConfigError(f"damaged files are to 'refuse' a folder or be 'left_out', got '{self.damaged}'")

    def open(self, root: Path | str) -> VideoFolder:
        """Reads what each file holds, without decoding it. Raises DataError naming files that do not fit."""
        root = Path(root)
        found = find_videos(root)
        if not found.videos:
            others = f"; other files there: {found.said_of_others()}" if found.others else ""
            expected = f"a LeRobotDataset or a folder of videos ({', '.join(SUFFIXES)})"
            raise DataError(f"{root}: expected {expected}, found neither{others}")
        reader = PyAVReader()
        indexes, faults = _indexes(reader, found.videos)
        if faults and (self.damaged == "refuse" or not indexes):
            raise DataError(
                f"{root}: {len(faults)} of {len(found.videos)} videos cannot be read, first: "
                f"{next(iter(faults.values()))}; mend or remove them, or leave them out: data.format.damaged=left_out"
            )
        fps = common_rate(indexes) if self.fps is None else float(self.fps)
        texts = _instructions(root, found.videos)
        return VideoFolder(
            root=root,
            fps=fps,
            resampled=self.fps is not None,
            indexes=indexes,
            texts=texts,
            found=found,
            faults=faults,
            reader=reader,
        )


class VideoFolder:
    """`Source` made by `Videos.open`. Every frame is upright; those that an edit list hides do not exist."""

    def __init__(
        self,
        *,
        root: Path,
        fps: float,
        resampled: bool,
        indexes: dict[Path, VideoIndex],
        texts: dict[Path, str],
        found: Found,
        faults: dict[Path, DataError],
        reader: PyAVReader,
    ) -> None:
        self.root, self.fps = root, fps
        self.cameras: tuple[str, ...] = (CAMERA,)
        self.action_names: tuple[str, ...] = ()
        self.state_names: tuple[str, ...] = ()
        self.robot: RobotCard | None = None
        self.tasks = tuple(dict.fromkeys(texts[path] for path in indexes))
        self._reader, self._resampled = reader, resampled
        self._found, self._faults = found, {path: str(error) for path, error in faults.items()}
        self._paths = tuple(indexes)
        self._held = {path: len(index.pts) for path, index in indexes.items()}  # frames of each file when it was opened
        self._sizes = [index.size for index in indexes.values()]
        self._turned = sum(any(index.turn) for index in indexes.values())
        self._begins = [float(index.times[0]) for index in indexes.values()]
        self.shapes: Mapping[str, tuple[int, int, int]] = {CAMERA: (*self._sizes[0], 3)}
        episodes, start = [], 0
        for k, (path, index) in enumerate(indexes.items()):
            length = len(instants(index, fps)) if resampled else len(index.pts)
            episodes.append(
                Episode(
                    index=k,
                    length=length,
                    start=start,
                    tasks=(texts[path],),
                    info={"file": path.relative_to(root).as_posix()},
                )
            )
            start += length
        self.episodes: Sequence[Episode] = tuple(episodes)

    def arrays(self, episode: int) -> EpisodeArrays:
        """T rows without numbers: S = A = 0, and no action is real."""
        row = self._row(episode)
        return EpisodeArrays(
            state=np.zeros((row.length, 0), np.float32),
            actions=np.zeros((row.length, 0), np.float32),
            real=np.zeros(row.length, bool),
            task_index=np.full(row.length, self.tasks.index(row.tasks[0]), np.int64),
            timestamp=np.arange(row.length) / self.fps,
        )

    def frames(self, episode: int, camera: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Source.frames`. h and w are the file's own (see the finding "mixed sizes")."""
        row, path = self._row(episode), self._path(episode, camera)
        wanted = np.asarray(indices, np.int64)
        if wanted.ndim != 1 or len(wanted) == 0 or wanted.min() < 0 or wanted.max() >= row.length:
            raise DataError(f"{path}: has frames 0..{row.length - 1}, asked for {wanted.tolist()[:8]}")
        index = self._reader.index(path)
        if len(index.pts) != self._held[path]:
            raise DataError(
                f"{path}: had {self._held[path]} frames when the folder was opened, now {len(index.pts)}; start again"
            )
        numbers = instants(index, self.fps)[wanted] if self._resampled else wanted
        return self._reader.frames(path, index.times[numbers], tolerance=index.tick / 2)

    def files(self, camera: str) -> tuple[Path, ...]:
        """One file per episode."""
        self._require_camera(camera)
        return self._paths

    def place(self, episode: int, camera: str) -> str:
        """File, the time of its first frame, and how frames were chosen."""
        path = self._path(episode, camera)
        how = f"resampled to {self.fps}" if self._resampled else "every frame"
        return f"{path.relative_to(self.root).as_posix()} from {self._begins[episode]} s, {how}"

    def findings(self, *, decode: bool, cameras: Collection[str]) -> Iterator[Finding]:
        """What was left out, and what is unlike other datasets."""
        yield from self._left_out()
        if len(set(self._sizes)) > 1:
            common = ", ".join(f"{h} x {w} ({n})" for (h, w), n in Counter(self._sizes).most_common(5))
            said = f"sizes (files): {common}; data.image_fit pad, crop or stretch makes one of them"
            yield self._unusual("mixed sizes", said, len(set(self._sizes)))
        if self._turned:
            yield self._unusual(
                "turned videos", f"{self._turned} files say how to turn them: read upright", self._turned
            )
        if self._resampled:
            said = f"every file is resampled to {self.fps:g} fps, each frame the nearest one"
            yield self._unusual("resampled", said, len(self._paths))
        if decode and CAMERA in cameras:
            yield from self._undecodable()

    def _left_out(self) -> Iterator[Finding]:
        read, found = len(self._paths), len(self._found.videos)
        if self._faults:
            said = f"{found} videos found, {read} read, {len(self._faults)} left out, first: "
            yield self._unusual("files left out", said + next(iter(self._faults.values())), len(self._faults))
        if self._found.others:
            said = f"{found} videos found; files of other kinds, not read: {self._found.said_of_others()}"
            yield self._unusual("other files", said, sum(self._found.others.values()))
        if self._found.again:
            said = f"reached a second time through a link and read once: {self._found.again[0]}"
            yield self._unusual("folders met twice", said, len(self._found.again))

    def _undecodable(self) -> Iterator[Finding]:
        for row in self.episodes:
            try:
                for begin in range(0, row.length, _CHUNK):
                    self.frames(row.index, CAMERA, np.arange(begin, min(begin + _CHUNK, row.length)))
            except DataError as error:
                where = str(row.info["file"])
                yield Finding(severity="error", kind="undecodable frames", where=where, said=str(error))

    def _unusual(self, kind: str, said: str, count: int) -> Finding:
        return Finding(severity="unusual", kind=kind, where=str(self.root), said=said, count=count)

    def _row(self, episode: int) -> Episode:
        if not 0 <= episode < len(self.episodes):
            raise DataError(f"{self.root}: has episodes 0..{len(self.episodes) - 1}, asked for {episode}")
        return self.episodes[episode]

    def _path(self, episode: int, camera: str) -> Path:
        self._require_camera(camera)
        return self._paths[self._row(episode).index]

    def _require_camera(self, camera: str) -> None:
        if camera != CAMERA:
            raise ConfigError(f"{self.root}: no camera '{camera}'. {nearest(camera, self.cameras)}")


def open_source(root: Path | str) -> Source:
    """A LeRobotDataset v3.0, or else a folder of videos. Raises DataError when it is neither.

    One with a meta/ and no info.json is a damaged dataset, not a folder of videos.
    """
    if (Path(root) / lerobot_paths.INFO).parent.is_dir():
        return open_dataset(root)
    return Videos().open(root)


def is_lerobot(root: Path | str) -> bool:
    """Whether the folder is a LeRobotDataset, judged by its info.json."""
    return (Path(root) / lerobot_paths.INFO).is_file()


def _indexes(reader: PyAVReader, paths: Sequence[Path]) -> tuple[dict[Path, VideoIndex], dict[Path, DataError]]:
    indexes: dict[Path, VideoIndex] = {}
    faults: dict[Path, DataError] = {}
    for path in paths:
        try:
            indexes[path] = reader.index(path)
        except DataError as error:
            faults[path] = error
    return indexes, faults


def _instructions(root: Path, videos: Sequence[Path]) -> dict[Path, str]:
    names = {path.relative_to(root).as_posix(): path for path in videos}
    path = root / INSTRUCTIONS
    if not path.exists():
        return dict.fromkeys(videos, "")
    given = read_json(path, DataError)
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        raise DataError(f"{path}: expected one JSON object from relative paths to instructions")
    without, unknown = sorted(set(names) - set(given)), sorted(set(given) - set(names))
    if without or unknown:
        raise DataError(f"{path}: {len(without)} videos have no instruction ({without[:3]}), unknown: {unknown[:3]}")
    return {video: given[name] for name, video in names.items()}
