"""What an episode is, wherever it stands in its dataset: by this the split decides who is held out."""

from __future__ import annotations

from pathlib import Path

from lara.data.frames.cache import file_hashes
from lara.data.sources.lerobot.source import LeRobotSource
from lara.data.sources.numbers import Numbers


def fingerprints(source: LeRobotSource, numbers: Numbers, *, folder: Path | None) -> list[str]:
    """One per episode: a hash of its numbers; where a dataset has none, of its video files if they are its own, so that
    files that come or go move no other episode to the other side; else its place.

    folder: where file hashes are remembered (see `data.cache.file_hashes`).
    """
    if numbers.states.shape[1] + numbers.actions.shape[1] or not _own_files(source):
        return [numbers.fingerprint(k) for k in range(len(source))]
    hashes = {camera: file_hashes(source, camera, folder=folder) for camera in source.cameras}
    return ["|".join(hashes[c][row.videos[c]] for c in source.cameras) for row in source.episodes]


def _own_files(source: LeRobotSource) -> bool:
    """Whether every episode has, of every camera, a video file that holds nothing else."""
    if not source.cameras or any(kind != "video" for kind in source.stored.values()):
        return False
    return all(len(source.files(camera)) == len(source) for camera in source.cameras)
