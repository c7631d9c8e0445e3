"""What the rows of a LeRobotDataset say against its metadata, half a million of them at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from lara.data.sources.lerobot.clock import STEADY, regular
from lara.data.sources.lerobot.columns import Columns
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.examined import Examined, error, unusual
from lara.data.sources.lerobot.source import LeRobotSource
from lara.errors import DataError

_SAID = {
    "clock jitter": "{} episodes have timestamps that jitter; their frames are taken by the nearest",
    "clock drift": "{} episodes have a clock that drifts from the video's; it has a frame for every row",
    "rows cut": "{} episodes have timestamps that leave frames out; the picture at each row's time is taken",
    "frame_index": "{} episodes do not count their frames from 0",
    "index": "{} episodes count their frames in the dataset otherwise than the episode table",
    "no frame_index": "{} episodes have no column frame_index; their rows are taken in order",
    "no timestamps": "{} episodes have no timestamps; their rows are taken as the video's frames, in order",
}


class Block:
    """Episodes and their rows, one after the other."""

    def __init__(self, rows: list[EpisodeRow], columns: Columns) -> None:
        self.rows, self.columns = rows, columns
        self.lengths = np.array([row.length for row in rows], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.of = np.repeat(np.arange(len(rows)), self.lengths)
        self.frame = np.arange(len(columns)) - self.starts[self.of]

    def firsts(self, wrong: np.ndarray) -> list[tuple[EpisodeRow, int]]:
        """(N,) bool -> the episodes that have such a row, and the first such row, counted in the block."""
        rows = np.flatnonzero(wrong)
        episodes, first = np.unique(self.of[rows], return_index=True)
        return [(self.rows[k], int(rows[i])) for k, i in zip(episodes, first, strict=True)]

    def fault(self, kind: str, row: EpisodeRow, n: int, said: str) -> Examined:
        """An error in the n-th row of the block."""
        return error(kind, f"{row.data}: episode {row.index}, frame {self.frame[n]}", said, [row.index])


def number_findings(source: LeRobotSource, bad: Collection[int]) -> Iterator[Examined]:
    """All findings about the numbers of the episodes that are not `bad`."""
    counts: Counter[str] = Counter()
    where: dict[str, Path] = {}
    faults: list[tuple[list[EpisodeRow], DataError]] = []
    shown: dict[int, np.ndarray] = {}
    seen: set[Path] = set()
    untimed: set[Path] = {source.rows[k].data for k in bad}
    least = np.full(source.action_dim, np.inf)
    most = -least
    rows = [row for row in source.rows if row.index not in bad]
    for inside, columns in source.blocks(rows, faults=faults):
        block = Block(inside, columns)
        noted: Counter[str] = Counter()
        wrong_times: set[Path] = set()
        yield from _values(block)
        yield from _counters(block, noted)
        yield from _tasks(source, block)
        for finding, episodes in _times(source, block, noted, shown):
            wrong_times.update(source.rows[k].data for k in episodes)
            yield finding, episodes
        for kind in noted:
            where.setdefault(kind, inside[0].data)
        counts += noted
        untimed |= wrong_times
        seen.update(row.data for row in inside)
        if len(columns):
            with np.errstate(invalid="ignore"):
                least, most = np.fmin(least, columns.actions.min(0)), np.fmax(most, columns.actions.max(0))
    for inside, fault in faults:
        untimed.add(inside[0].data)
        yield error("data file", inside[0].data, fault, [row.index for row in inside])
    source.remember_offsets(shown, seen - untimed)
    for kind, count in counts.items():
        yield unusual(kind, where[kind], _SAID[kind].format(count), count)
    yield from _limits(source, least, most)


def _values(block: Block) -> Iterator[Examined]:
    for name, vectors in (("state", block.columns.state), ("action", block.columns.actions)):
        if not vectors.shape[1] or np.isfinite(vectors.sum(dtype=np.float64)):
            continue  # one number that is not finite spoils the sum
        for row, n in block.firsts(~np.isfinite(vectors).all(1)):
            dim = int(np.flatnonzero(~np.isfinite(vectors[n]))[0])
            yield block.fault("not finite", row, n, f"{name}[{dim}] is {vectors[n, dim]}; remove or mend the episode")


def _counters(block: Block, noted: Counter[str]) -> Iterator[Examined]:
    columns = block.columns
    if columns.episode_index is not None:
        numbers = np.array([row.number for row in block.rows])[block.of]
        for row, n in block.firsts(columns.episode_index != numbers):
            said = f"episode_index should be {row.number}, found {columns.episode_index[n]}"
            yield block.fault("counters", row, n, said)
    if columns.frame_index is None:
        noted["no frame_index"] += len(block.rows)
    starts = np.array([row.start for row in block.rows])[block.of]
    for name, found, expected in (
        ("frame_index", columns.frame_index, block.frame),
        ("index", columns.index, starts + block.frame),
    ):
        if found is None or np.array_equal(found, expected):
            continue
        ahead = found - expected
        base = ahead[block.starts]
        for row, n in block.firsts(ahead != base[block.of]):
            said = f"{name} should be {expected[n] + base[block.of[n]]}, found {found[n]}"
            yield block.fault("counters", row, n, said)
        noted[name] += int(np.count_nonzero(base))


def _tasks(source: LeRobotSource, block: Block) -> Iterator[Examined]:
    name, numbers = source.keys.task, block.columns.task
    if numbers is None:
        if len(source.tasks) > 1:
            said = (
                f"no column '{name}' says the instruction of a frame, and there are {len(source.tasks)}; name the "
                "column that does with data.format.keys.task"
            )
            yield error("no tasks", block.rows[0].data, said, [row.index for row in block.rows])
        return
    places = source.task_numbers.places(numbers)
    for row, n in block.firsts(places < 0):
        known = source.task_numbers.numbers
        span = f"{known[0]}..{known[-1]}" if len(known) else "none"
        yield block.fault("unknown task", row, n, f"task index {numbers[n]} is unknown, the tasks are {span}")
    changes = np.ones(len(places), bool)
    changes[1:] = (places[1:] != places[:-1]) | (block.of[1:] != block.of[:-1])
    pairs = zip(block.of[changes].tolist(), places[changes].tolist(), strict=True)
    texts = source.tasks
    strange = dict.fromkeys(
        k for k, place in pairs if place >= 0 and block.rows[k].tasks and texts[place] not in block.rows[k].tasks
    )
    for k in strange:
        row = block.rows[k]
        inside = places[block.starts[k] : block.starts[k] + row.length]
        used = sorted({texts[place] for place in inside[inside >= 0].tolist()})
        said = f"its rows use the tasks {used}, the episode table says {sorted(row.tasks)}"
        yield error("another task", f"{row.data}: episode {row.index}", said, [row.index])


def _times(
    source: LeRobotSource, block: Block, noted: Counter[str], shown: dict[int, np.ndarray]
) -> Iterator[Examined]:
    """shown: gets the frames of the episodes that are not 0, 1, 2, ..."""
    if block.columns.timestamp is None:
        noted["no timestamps"] += len(block.rows)
        return
    ticks = block.columns.timestamp * source.fps
    with np.errstate(invalid="ignore"):
        shaky = {row.index for row, _ in block.firsts(~(np.abs(ticks - block.frame) <= STEADY))}
    if not shaky:
        return
    odd = {row.index for row, _ in block.firsts(~regular(ticks, block.frame))}
    noted["clock jitter"] += len(shaky - odd)
    for k, row in enumerate(block.rows):
        if row.index not in odd:
            continue
        here = slice(block.starts[k], block.starts[k] + row.length)
        try:
            found = source.offsets_from(row, ticks[here])
        except DataError as fault:
            yield error("timestamps", row.data, fault, [row.index])
            continue
        noted["clock drift" if found is None else "rows cut"] += 1
        if found is not None:
            shown[row.index] = found


def _limits(source: LeRobotSource, least: np.ndarray, most: np.ndarray) -> Iterator[Examined]:
    """The recorder's statistics become a robot's limits where there is no card, so they must be of these numbers."""
    limits = None if source.robot is not None else source.hints().limits
    if limits is None or not source.action_dim or not np.isfinite([least, most]).all():
        return
    low, high = np.array(limits[0]), np.array(limits[1])
    slack = 1e-3 * np.maximum(high - low, np.maximum(np.abs(low), np.abs(high))) + 1e-6
    outside = np.flatnonzero((least < low - slack) | (most > high + slack))
    if len(outside):
        k = int(outside[0])
        said = (
            f"the recorded statistics give the action '{source.action_names[k]}' the range {low[k]:g}..{high[k]:g}, "
            f"its numbers reach {least[k]:g}..{most[k]:g}; they are of other data, and would become the robot's "
            "limits. Remove or rewrite the statistics, and the numbers themselves are looked at"
        )
        yield error("recorded statistics", source.root / "meta", said)
