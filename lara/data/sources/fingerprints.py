"""What an episode is, wherever it stands in its dataset: by this the split decides who is held out."""

from __future__ import annotations

from pathlib import Path

from lara.data.frames.cache import file_hashes
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Source


def fingerprints(source: Source, numbers: Numbers, *, folder: Path | None) -> list[str]:
    """One per episode: a hash of its numbers; where a dataset has none, of its files if they are its own, so that files
    that come or go move no other episode to the other side; else its place.

    folder: where file hashes are remembered (see `frames.cache.file_hashes`).
    """
    files = None if numbers.states.shape[1] + numbers.actions.shape[1] else of_files(source, folder=folder)
    return [numbers.fingerprint(k) for k in range(len(source.episodes))] if files is None else files


def of_files(source: Source, *, folder: Path | None) -> list[str] | None:
    """A hash of each episode's own files; None where episodes share files, or there are none."""
    count = len(source.episodes)
    # as many files as episodes, in order of first use: each holds one episode and nothing else
    if not source.cameras or any(len(source.files(camera)) != count for camera in source.cameras):
        return None
    hashes = {camera: file_hashes(source, camera, folder=folder) for camera in source.cameras}
    own = zip(*(source.files(camera) for camera in source.cameras), strict=True)
    return ["|".join(hashes[c][path] for c, path in zip(source.cameras, paths, strict=True)) for paths in own]
