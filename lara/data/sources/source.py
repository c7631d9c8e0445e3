"""Where episodes come from: the contract between a format on disk and everything that reads data.

A new format is one file with a class that opens a folder (`Format`) and one that answers these questions (`Source`).
Nothing outside `data/sources` knows any format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from lara.data.robot import RobotCard


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recording.

    Attributes:
        index: its place in `Source.episodes`: 0, 1, 2, ... without gaps, whatever numbers the files use.
        length: frames; at least 1.
        start: the number of its first frame in the whole source: the lengths of all episodes before it.
        tasks: instructions that its frames use.
        info: facts from the recorder (success, seed, ...), by name.
    """

    index: int
    length: int
    start: int
    tasks: tuple[str, ...]
    info: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EpisodeArrays:
    """The T rows of one episode.

    Attributes:
        state: (T, S) float32, in the robot's units.
        actions: (T, A) float32, in the robot's units.
        real: (T,) bool, False where an action does not exist (its numbers are then 0).
        task_index: (T,) int64, into `Source.tasks`.
        timestamp: (T,) float64, seconds since the episode's first frame.
    """

    state: np.ndarray
    actions: np.ndarray
    real: np.ndarray
    task_index: np.ndarray
    timestamp: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about a dataset that a person should know.

    Attributes:
        severity: "error": a number or a picture would be wrong, so training is refused. "unusual": read right.
        kind: a short fixed name, for counting ("clock jitter").
        where: file, episode and frame, as far as they apply.
        said: what was expected, what is there and, for an error, what to do.
        count: how many episodes (or frames, or files: `said` says which) it concerns.
    """

    severity: Literal["error", "unusual"]
    kind: str
    where: str
    said: str
    count: int = 1


class Source(Protocol):
    """Episodes of one origin: numbers, instructions and exact frames. Survives fork and pickling; reads lazily.

    Attributes:
        root: the folder, for messages and for what is kept beside the data.
        fps: frames per second, the same in all episodes.
        cameras: names, in the source's order. shapes: camera -> (h, w, 3) as it is decoded.
        action_names, state_names: one per number; A = S = 0 for video alone.
        tasks: the instruction of each task index.
        episodes: in order, see `Episode`.
        robot: what the files themselves say about the robot; None where they do not (see data.robot).
    """

    # Properties, because they are read and never set: an attribute of a protocol has to have exactly its type, and a
    # source may hold more than what is asked for (episodes that also know their files).
    @property
    def root(self) -> Path: ...
    @property
    def fps(self) -> float: ...
    @property
    def cameras(self) -> tuple[str, ...]: ...
    @property
    def shapes(self) -> Mapping[str, tuple[int, int, int]]: ...
    @property
    def action_names(self) -> tuple[str, ...]: ...
    @property
    def state_names(self) -> tuple[str, ...]: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def episodes(self) -> Sequence[Episode]: ...
    @property
    def robot(self) -> RobotCard | None: ...

    def arrays(self, episode: int) -> EpisodeArrays:
        """The numbers of one episode. Raises DataError for a table that is missing, unreadable or too short."""
        ...

    def frames(self, episode: int, camera: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) frame numbers within the episode, any order -> (n, h, w, 3) uint8 RGB. Exactly these, or DataError."""
        ...

    def files(self, camera: str) -> tuple[Path, ...]:
        """The files that hold the camera's pixels, in order of first use: by them a frame cache knows its frames."""
        ...

    def place(self, episode: int, camera: str) -> str:
        """Which file holds the episode's pixels and from where on, in one line that changes when the frames do."""
        ...

    def findings(self, *, decode: bool, cameras: Collection[str]) -> Iterator[Finding]:
        """Everything that is wrong or unusual, cheap things first. decode: also every frame of these cameras."""
        ...


class Format(Protocol):
    """How a folder is opened; what `data.format` names."""

    def open(self, root: Path) -> Source:
        """Reads metadata only. Raises DataError when the folder is not of this format."""
        ...


def frame_count(source: Source) -> int:
    """Frames of all episodes."""
    return sum(episode.length for episode in source.episodes)
