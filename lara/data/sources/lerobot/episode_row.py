"""Where one episode of a LeRobotDataset lies in its files; the same for every version of the layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lara.data.sources.source import Episode


@dataclass(frozen=True, kw_only=True)
class EpisodeRow(Episode):
    """An episode and its place.

    Attributes:
        number: what its files call it (`episode_index`); numbers may have gaps, `index` has none.
        data: the file of its numbers (and of its pictures, where they are stored as images).
        first_row: its frames are the rows first_row ... first_row + length - 1 of `data`.
        videos: camera -> the file of its frames.
        begins: camera -> seconds in that file at which the episode's time is 0.
        spans: camera -> how many frames of the file are the episode's own, discarded takes included; None: not said.
    """

    number: int
    data: Path
    first_row: int
    videos: Mapping[str, Path]
    begins: Mapping[str, float]
    spans: Mapping[str, int | None]
