"""How a LeRobotDataset is opened: what `data.format` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.findings import examine
from lara.data.sources.lerobot.keys import KeyMap
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.lerobot.source import LeRobotSource
from lara.data.sources.source import Finding
from lara.errors import ConfigError, DataError

OnError = Literal["refuse", "skip"]


@dataclass(frozen=True, kw_only=True)
class LeRobot:
    """A LeRobotDataset v2.0, v2.1 or v3.0.

    Attributes:
        keys: which columns are what, where they are not called as usual (see `KeyMap`).
        on_error: "refuse": a fault of any episode is found when training validates the dataset, and stops it. "skip":
            opening looks at all numbers and at the index of every video, leaves out the episodes that have a fault, and
            everything else goes on; what was left out and why is among the findings.
        max_skipped: more episodes than this are not left out: the dataset is damaged, not an episode.
    """

    buildable: ClassVar[str] = "data"

    keys: KeyMap | Mapping[str, Any] | None = None
    on_error: OnError = "refuse"
    max_skipped: int = 10

    def __post_init__(self) -> None:
        if self.on_error not in get_args(OnError) or self.max_skipped < 0:
            raise ConfigError(
                f"data.format.on_error is refuse or skip and max_skipped at least 0, got {self.on_error!r} and "
                f"{self.max_skipped}"
            )
        KeyMap.of(self.keys)

    def open(self, root: Path | str) -> LeRobotSource:
        """See `Format.open`. With on_error="skip" it also reads the numbers."""
        source = open_dataset(root, keys=self.keys)
        return source if self.on_error == "refuse" else sound_part(source, at_most=self.max_skipped)


def sound_part(source: LeRobotSource, *, at_most: int) -> LeRobotSource:
    """The dataset without the episodes that have a fault; its `notes` say which they were and why.

    Raises DataError for faults that are of no single episode, when more than `at_most` episodes have one, and when none
    is left.
    """
    bad: dict[int, Finding] = {}
    cameras = [camera for camera in source.cameras if camera not in source.depth]
    for finding, episodes in examine(source, decode=False, cameras=cameras):
        if finding.severity == "error" and not episodes:
            raise DataError(f"{finding.where}: {finding.said}")
        for episode in episodes:
            bad.setdefault(episode, finding)
    if not bad:
        return source
    if len(bad) > at_most or len(bad) == len(source):
        first = min(bad)
        raise DataError(
            f"{source.root}: {len(bad)} of {len(source)} episodes have a fault, data.format.max_skipped={at_most} may "
            f"be left out; the first is episode {first}: {bad[first].where}: {bad[first].said}"
        )
    ledger = tuple(
        Finding(
            severity="unusual",
            kind="episode left out",
            where=f"episode {source.rows[k].number}",
            said=f"{finding.kind}: {finding.where}: {finding.said}",
        )
        for k, finding in sorted(bad.items())
    )
    return source.with_episodes(_renumbered([row for row in source.rows if row.index not in bad]), ledger)


def _renumbered(rows: list[EpisodeRow]) -> tuple[EpisodeRow, ...]:
    found, start = [], 0
    for k, row in enumerate(rows):
        found.append(replace(row, index=k, start=start))
        start += row.length
    return tuple(found)
