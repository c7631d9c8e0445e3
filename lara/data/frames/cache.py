"""Decoded, resized frames as one memory-mapped file per camera: what makes training faster than video decoding.

A cache is believed only under its final name, with a manifest that fits: it is built under another name and renamed
when every byte is on disk. A killed build is continued; what had not been flushed is done again.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lara.data.frames.resize import RESIZE_VERSION, Fit, resize_area
from lara.data.sources.lerobot.source import LeRobotSource
from lara.errors import DataError
from lara.store.files import fsync_path
from lara.store.lock import locked
from lara.store.records import read_json, write_json

_FORMAT = 1
_UNIT = 512  # frames that one worker decodes, flushes and reports at a time
_FRAMES, _MANIFEST, _PROGRESS, _HASHES = "frames.bin", "manifest.json", "progress.json", "hashes.json"


@dataclass(frozen=True)
class FrameCache:
    """All frames of one camera of one dataset at one size. `frames`: (N, size, size, 3) uint8, read-only, on disk."""

    folder: Path
    frames: np.ndarray
    checksums: Mapping[str, int]

    @classmethod
    def open(cls, folder: Path, *, key: str, count: int, size: int) -> FrameCache:
        """A finished cache; needs neither the video nor a decoder. Raises DataError when anything does not fit."""
        manifest = read_json(folder / _MANIFEST, DataError)
        expected = {"format": _FORMAT, "key": key, "count": count, "size": size}
        found = {name: manifest.get(name) for name in expected} if isinstance(manifest, dict) else {}
        if found != expected or not isinstance(manifest.get("checksums"), dict):
            raise DataError(f"{folder}: expected a frame cache with {expected}, found {found}; delete the folder")
        path = folder / _FRAMES
        length = count * size * size * 3
        have = path.stat().st_size if path.is_file() else None
        if have != length:
            raise DataError(f"{path}: expected {length} bytes, found {have}; delete the folder, it will be built again")
        frames = np.memmap(path, np.uint8, mode="r", shape=(count, size, size, 3))
        return cls(folder, frames, manifest["checksums"])

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes map the file again; the frames themselves never travel."""
        return _reopen, (self.folder, self.frames.shape, dict(self.checksums))

    def verify(self) -> None:
        """Read every byte and compare with the checksums of the build. Raises DataError naming the first bad range."""
        for unit, checksum in self.checksums.items():
            begin, end = (int(part) for part in unit.split("-"))
            if zlib.crc32(self.frames[begin:end].data) != checksum:
                raise DataError(f"{self.folder}: frames {begin}..{end - 1} have changed on disk; delete the folder")


def _reopen(folder: Path, shape: tuple[int, ...], checksums: Mapping[str, int]) -> FrameCache:
    return FrameCache(folder, np.memmap(folder / _FRAMES, np.uint8, mode="r", shape=shape), checksums)


def folder_of(source: LeRobotSource, folder: Path | None) -> Path:
    """Where caches live: the folder given, or `<dataset>/.lara-cache`."""
    return source.root / ".lara-cache" if folder is None else Path(folder)


def open_or_build(
    source: LeRobotSource, camera: str, size: int, *, fit: Fit = "square", folder: Path | None = None, workers: int = 0
) -> FrameCache:
    """The cache of one camera; decoded now, by `workers` processes (0: in this one), if it is not there yet.

    folder: where caches live, `<dataset>/.lara-cache` by default. Several processes may call this at once: one builds,
    the others wait. Raises DataError for frames that do not decode and for a finished cache that does not fit.
    """
    folder = folder_of(source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    key = cache_key(source, camera, size, fit=fit, folder=folder)
    target = folder / f"{camera}-{size}-{key[:16]}"
    count = source.frame_count
    if not target.exists():
        with locked(folder / f".lock-{target.name}", wait=True, doing="building a frame cache"):
            if not target.exists():
                _build(source, camera, size, fit, target, key, workers)
    return FrameCache.open(target, key=key, count=count, size=size)


def is_built(source: LeRobotSource, camera: str, size: int, *, fit: Fit = "square", folder: Path | None = None) -> bool:
    """Whether `open_or_build` would only open. The key holds the sha256 of the camera's files: a finished cache says
    that every frame of exactly these files was decoded once, so they need not be looked at again."""
    folder = folder_of(source, folder)
    if not folder.is_dir():
        return False
    key = cache_key(source, camera, size, fit=fit, folder=folder)
    return (folder / f"{camera}-{size}-{key[:16]}").exists()


def cache_key(source: LeRobotSource, camera: str, size: int, *, fit: Fit, folder: Path) -> str:
    """sha256 over the camera's files, the episodes' places in them, the size and the resize method.

    See `file_hashes` for `folder`.
    """
    total = hashlib.sha256(f"{_FORMAT} {RESIZE_VERSION} {fit} {size} {source.fps}".encode())
    for file, digest in file_hashes(source, camera, folder=folder).items():
        total.update(f"{file.relative_to(source.root)} {digest}\n".encode())
    for row in source.episodes:
        where = row.begins[camera] if source.stored[camera] == "video" else row.first_row
        total.update(f"{row.length} {where}\n".encode())
    return total.hexdigest()


def file_hashes(source: LeRobotSource, camera: str, *, folder: Path | None) -> dict[Path, str]:
    """The sha256 of each of the camera's files, in order of first use.

    Remembered in `folder` by (size, modification time), so that only changed files are read again; nowhere without one.
    """
    path = None if folder is None else folder / _HASHES
    known: dict[str, Any] = read_json(path, DataError) if path is not None and path.exists() else {}
    fresh, found = {}, {}
    for file in source.files(camera):
        if not file.is_file():
            raise DataError(f"{file}: expected a file with frames of '{camera}', found nothing")
        name, status = str(file.relative_to(source.root)), file.stat()
        entry = known.get(f"{source.root.resolve()}/{name}")
        if not isinstance(entry, list) or entry[:2] != [status.st_size, status.st_mtime_ns]:
            with open(file, "rb") as stream:
                entry = [status.st_size, status.st_mtime_ns, hashlib.file_digest(stream, "sha256").hexdigest()]
            fresh[f"{source.root.resolve()}/{name}"] = entry
        found[file] = entry[2]
    if fresh and path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**known, **fresh})
    return found


def _build(source: LeRobotSource, camera: str, size: int, fit: Fit, target: Path, key: str, workers: int) -> None:
    building = target.with_name(f".building-{target.name}")
    frames = building / _FRAMES
    length = source.frame_count * size * size * 3
    progress = building / _PROGRESS
    if not (progress.exists() and frames.is_file() and frames.stat().st_size == length and _key_of(progress) == key):
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        with open(frames, "wb") as file:
            file.truncate(length)
        write_json(progress, {"key": key, "checksums": {}})
    checksums: dict[str, int] = dict(read_json(progress, DataError)["checksums"])
    job = _Job(source, camera, size, fit, frames)
    names = {unit: "{}-{}".format(*job.frames_of(unit)) for unit in _units(source)}
    units = [unit for unit, name in names.items() if name not in checksums]
    left = sum(end - begin for begin, end in map(job.frames_of, units))
    total = source.frame_count
    with tqdm(total=total, initial=total - left, desc=f"cache {camera} {size}px", unit="frame", disable=None) as bar:
        for unit, checksum in _run_all(job, units, workers):
            checksums[names[unit]] = checksum
            write_json(progress, {"key": key, "checksums": checksums})
            begin, end = job.frames_of(unit)
            bar.update(end - begin)
    fsync_path(frames)
    ordered = dict(sorted(checksums.items(), key=lambda item: int(item[0].split("-")[0])))
    manifest = {"format": _FORMAT, "key": key, "count": source.frame_count, "size": size, "checksums": ordered}
    write_json(building / _MANIFEST, manifest)
    progress.unlink()
    os.rename(building, target)
    fsync_path(target.parent)


def _key_of(progress: Path) -> str | None:
    data = read_json(progress, DataError)
    return data.get("key") if isinstance(data, dict) else None


def _units(source: LeRobotSource) -> list[range]:
    """Runs of whole episodes of about _UNIT frames, so that each file is read in one direction."""
    units: list[range] = []
    frames = 0
    for k, row in enumerate(source.episodes):
        if units and frames < _UNIT:
            units[-1] = range(units[-1].start, k + 1)
        else:
            units.append(range(k, k + 1))
            frames = 0
        frames += row.length
    return units


@dataclass(frozen=True)
class _Job:
    source: LeRobotSource
    camera: str
    size: int
    fit: Fit
    path: Path

    def frames_of(self, unit: range) -> tuple[int, int]:
        last = self.source.episodes[unit[-1]]
        return self.source.episodes[unit[0]].start, last.start + last.length

    def run(self, unit: range) -> int:
        """Decode these episodes into their place in the file and flush it; returns the crc32 of their bytes."""
        shape = (self.source.frame_count, self.size, self.size, 3)
        out = np.memmap(self.path, np.uint8, mode="r+", shape=shape)
        for k in unit:
            row = self.source.episodes[k]
            for first in range(0, row.length, _UNIT):
                last = min(first + _UNIT, row.length)
                images = self.source.frames(k, self.camera, np.arange(first, last))
                out[row.start + first : row.start + last] = resize_area(images, self.size, fit=self.fit)
        out.flush()
        begin, end = self.frames_of(unit)
        return zlib.crc32(out[begin:end].data)


_job_of_this_worker: _Job | None = None  # set once per worker process, so that it does not travel with every unit


def _begin_worker(job: _Job) -> None:
    global _job_of_this_worker
    _job_of_this_worker = job


def _run_in_worker(unit: range) -> tuple[range, int]:
    assert _job_of_this_worker is not None
    return unit, _job_of_this_worker.run(unit)


def _run_all(job: _Job, units: Sequence[range], workers: int) -> Iterator[tuple[range, int]]:
    if workers < 1:
        for unit in units:
            yield unit, job.run(unit)
        return
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(job,)) as pool:
        futures = [pool.submit(_run_in_worker, unit) for unit in units]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
