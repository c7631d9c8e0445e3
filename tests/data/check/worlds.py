"""A source that is nothing but the contract, with findings of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from lara.data.sources.source import Episode, EpisodeArrays, Finding
from lara.errors import DataError


class Fake:
    """Episodes of these lengths and tasks. broken: episodes whose numbers cannot be read."""

    def __init__(
        self,
        lengths: Sequence[int] = (6, 8, 5, 7),
        *,
        tasks: Sequence[str] = ("push", "pull"),
        task_of=lambda k: k % 2,
        said: Sequence[Finding] = (),
        broken: Collection[int] = (),
        fails: str = "",
        actions: np.ndarray | None = None,
        dims: tuple[int, int] = (3, 2),
        root: str = "set",
    ) -> None:
        self.root, self.fps, self.tasks, self.robot = Path(root), 10.0, tuple(tasks), None
        self.cameras, self.shapes = ("top", "wrist"), {"top": (24, 32, 3), "wrist": (24, 32, 3)}
        self.action_names = tuple(f"a{d}" for d in range(dims[0]))
        self.state_names = tuple(f"s{d}" for d in range(dims[1]))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        self.episodes = tuple(
            Episode(index=k, length=n, start=int(starts[k]), tasks=(self.tasks[task_of(k)],))
            for k, n in enumerate(lengths)
        )
        self.task_of, self.said, self.broken, self.fails, self.actions = task_of, said, broken, fails, actions
        self.read = 0
        self.asked: dict = {}

    def arrays(self, episode: int) -> EpisodeArrays:
        self.read += 1
        if episode in self.broken:
            raise DataError(f"file.parquet: episode {episode} is cut short")
        row, rng = self.episodes[episode], np.random.default_rng(episode)
        actions = rng.uniform(-1, 1, (row.length, len(self.action_names))).astype(np.float32)
        if self.actions is not None:
            actions = self.actions[row.start : row.start + row.length].astype(np.float32)
        return EpisodeArrays(
            state=rng.normal(size=(row.length, len(self.state_names))).astype(np.float32),
            actions=actions,
            real=np.arange(row.length) < row.length - 1,
            task_index=np.full(row.length, self.task_of(episode)),
            timestamp=np.arange(row.length) / self.fps,
        )

    def frames(self, episode: int, camera: str, indices) -> np.ndarray:
        shade = [20 + 9 * int(t) % 200 for t in indices]
        return np.stack([np.full(self.shapes[camera], value, np.uint8) for value in shade])

    def files(self, camera: str) -> tuple[Path, ...]:
        return (self.root / f"{camera}.mp4",)

    def place(self, episode: int, camera: str) -> str:
        return f"{camera}.mp4 from {self.episodes[episode].start}"

    def findings(self, *, decode: bool, cameras: Collection[str]) -> Iterator[Finding]:
        self.asked = {"decode": decode, "cameras": tuple(cameras)}
        yield from self.said
        if self.fails:
            raise DataError(self.fails)
