"""Decoded, resized frames as one memory-mapped file per camera: what makes training faster than video decoding.

A cache is believed only under its final name, with a manifest that fits: it is built under another name and renamed
when every byte is on disk. A killed build is continued; what had not been flushed is done again. A frame is believed
once its checksum was found right, in every process the first time that it is read.
"""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lara.data.frames.resize import RESIZE_VERSION, Fit, resize_area
from lara.data.sources.source import Source
from lara.errors import DataError
from lara.store.files import fsync_path
from lara.store.lock import locked
from lara.store.records import read_json, write_json

_FORMAT = 2
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
_UNIT = 512  # frames that one worker decodes, flushes and reports at a time
_FRAMES, _SUMS, _MANIFEST = "frames.bin", "checksums.bin", "manifest.json"
_PROGRESS, _HASHES = "progress.json", "hashes.json"


class FrameCache:
    """All frames of one camera of one dataset at one size, on disk. `read` gives them out, each checked once."""

    def __init__(self, folder: Path, *, count: int, size: int) -> None:
        self.folder = folder
        self._shape = (count, size, size, 3)
        self._frames = np.memmap(folder / _FRAMES, np.uint8, mode="r", shape=self._shape)
        self._sums = np.memmap(folder / _SUMS, "<u4", mode="r", shape=(count,))
        self._checked = np.zeros(count, bool)

    def __len__(self) -> int:
        return self._shape[0]

    @classmethod
    def open(cls, folder: Path, *, key: str, count: int, size: int) -> FrameCache:
        """A finished cache; needs neither the video nor a decoder. Raises DataError when anything does not fit."""
        manifest = read_json(folder / _MANIFEST, DataError)
        expected = {"format": _FORMAT, "key": key, "count": count, "size": size}
        found = {name: manifest.get(name) for name in expected} if isinstance(manifest, dict) else {}
        if found != expected:
            raise DataError(f"{folder}: expected a frame cache with {expected}, found {found}; delete the folder")
        for name, length in ((_FRAMES, count * size * size * 3), (_SUMS, count * 4)):
            path = folder / name
            have = path.stat().st_size if path.is_file() else None
            if have != length:
                raise DataError(
                    f"{path}: expected {length} bytes, found {have}; delete the folder, it will be built again"
                )
        if zlib.crc32((folder / _SUMS).read_bytes()) != manifest.get("sums"):
            raise DataError(f"{folder / _SUMS}: has changed on disk; delete the folder, it will be built again")
        return cls(folder, count=count, size=size)

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes map the files again; the frames themselves never travel."""
        return _reopen, (self.folder, self._shape[0], self._shape[1])

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """(n,) frame numbers -> (n, size, size, 3) uint8. Raises DataError for a frame that changed on disk."""
        images = np.asarray(self._frames[numbers])
        # what is compared is the copy that is given out
        for place in np.flatnonzero(~self._checked[numbers]).tolist():
            number = int(numbers[place])
            if zlib.crc32(images[place].data) != self._sums[number]:
                raise DataError(
                    f"{self.folder}: frame {number} has changed on disk; delete the folder, it will be built again, "
                    "and look after the disk"
                )
            self._checked[number] = True
        return images

    def verify(self) -> None:
        """Read every frame. Raises DataError naming the first bad one."""
        for begin in range(0, len(self), _UNIT):
            self._checked[begin : begin + _UNIT] = False
            self.read(np.arange(begin, min(begin + _UNIT, len(self))))


def _reopen(folder: Path, count: int, size: int) -> FrameCache:
    return FrameCache(folder, count=count, size=size)


def frame_count(source: Source) -> int:
    """Frames of all episodes."""
    return source.episodes[-1].start + source.episodes[-1].length if len(source.episodes) else 0


def read_resized(source: Source, episode: int, camera: str, indices: np.ndarray, size: int, *, fit: Fit) -> np.ndarray:
    """(n,) frame numbers within the episode -> (n, size, size, 3) uint8. Raises DataError naming the file."""
    images = source.frames(episode, camera, indices)
    try:
        return resize_area(images, size, fit=fit)
    except DataError as error:
        place = f"{source.root}: episode {episode} ({source.place(episode, camera)}), camera '{camera}'"
        raise DataError(f"{place}: {error} (data.image_fit)") from error


def folder_of(source: Source, folder: Path | None) -> Path:
    """Where caches live: the folder given, or `<dataset>/.lara-cache`."""
    return source.root / ".lara-cache" if folder is None else Path(folder)


def open_or_build(
    source: Source, camera: str, size: int, *, fit: Fit = "square", folder: Path | None = None, workers: int = 0
) -> FrameCache:
    """The cache of one camera; decoded now, by `workers` processes (0: in this one), if it is not there yet.

    folder: where caches live, `<dataset>/.lara-cache` by default. Several processes may call this at once: one builds,
    the others wait. Raises DataError for frames that do not decode and for a finished cache that does not fit.
    """
    folder = folder_of(source, folder)
    key = cache_key(source, camera, size, fit=fit, folder=folder)
    target = folder / f"{camera}-{size}-{key[:16]}"
    count = frame_count(source)
    if not target.exists():
        _require_writable(folder)
        with locked(folder / f".lock-{target.name}", wait=True, doing="building a frame cache"):
            if not target.exists():
                _build(source, camera, size, fit, target, key, workers)
    return FrameCache.open(target, key=key, count=count, size=size)


def _require_writable(folder: Path) -> None:
    refusal = _unwritable(folder)
    if refusal is not None:
        raise DataError(
            f"{folder}: no frame cache can be written here ({refusal.strerror}); name a place that can be written, "
            "data.cache.folder=PATH, or read frames from video without a cache, data.cache=null"
        ) from refusal


def _unwritable(folder: Path) -> OSError | None:
    """Why nothing can be made in the folder: rights alone do not tell (read-only mounts, root)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        return error


def is_built(source: Source, camera: str, size: int, *, fit: Fit = "square", folder: Path | None = None) -> bool:
    """Whether `open_or_build` would only open. The key holds the sha256 of the camera's files: a finished cache says
    that every frame of exactly these files was decoded once, so they need not be looked at again."""
    folder = folder_of(source, folder)
    if not folder.is_dir():
        return False
    key = cache_key(source, camera, size, fit=fit, folder=folder)
    return (folder / f"{camera}-{size}-{key[:16]}").exists()


def cache_key(source: Source, camera: str, size: int, *, fit: Fit, folder: Path) -> str:
    """sha256 over the camera's files, the episodes' places in them, the size and the resize method.

    See `file_hashes` for `folder`.
    """
    total = hashlib.sha256(f"{_FORMAT} {RESIZE_VERSION} {fit} {size} {source.fps}".encode())
    for file, digest in file_hashes(source, camera, folder=folder).items():
        total.update(f"{file.relative_to(source.root)} {digest}\n".encode())
    for row in source.episodes:
        total.update(f"{row.length} {source.place(row.index, camera)}\n".encode())
    return total.hexdigest()


def file_hashes(source: Source, camera: str, *, folder: Path | None) -> dict[Path, str]:
    """The sha256 of each of the camera's files, in order of first use.

    Remembered in `folder` by (size, modification time), so that only changed files are read again; nowhere without one,
    or where it cannot be written: there they are read whole each time.
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
    if fresh and path is not None and _unwritable(path.parent) is None:
        write_json(path, {**known, **fresh})
    return found


def _build(source: Source, camera: str, size: int, fit: Fit, target: Path, key: str, workers: int) -> None:
    building = target.with_name(f".building-{target.name}")
    total = frame_count(source)
    lengths = {building / _FRAMES: total * size * size * 3, building / _SUMS: total * 4}
    progress = building / _PROGRESS
    whole = all(path.is_file() and path.stat().st_size == length for path, length in lengths.items())
    if not (whole and progress.exists() and _key_of(progress) == key):
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        for path, length in lengths.items():
            with open(path, "wb") as file:
                file.truncate(length)
        write_json(progress, {"key": key, "done": []})
    done: list[str] = list(read_json(progress, DataError)["done"])
    job = _Job(source, camera, size, fit, building)
    names = {unit: "{}-{}".format(*job.frames_of(unit)) for unit in _units(source)}
    units = [unit for unit, name in names.items() if name not in done]
    left = sum(end - begin for begin, end in map(job.frames_of, units))
    with tqdm(total=total, initial=total - left, desc=f"cache {camera} {size}px", unit="frame", disable=None) as bar:
        for unit in _run_all(job, units, workers):
            done.append(names[unit])
            write_json(progress, {"key": key, "done": done})
            begin, end = job.frames_of(unit)
            bar.update(end - begin)
    for path in lengths:
        fsync_path(path)
    sums = zlib.crc32((building / _SUMS).read_bytes())
    write_json(building / _MANIFEST, {"format": _FORMAT, "key": key, "count": total, "size": size, "sums": sums})
    progress.unlink()
    os.rename(building, target)
    fsync_path(target.parent)


def _key_of(progress: Path) -> str | None:
    data = read_json(progress, DataError)
    return data.get("key") if isinstance(data, dict) else None


def _units(source: Source) -> list[range]:
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
    source: Source
    camera: str
    size: int
    fit: Fit
    folder: Path

    def frames_of(self, unit: range) -> tuple[int, int]:
        last = self.source.episodes[unit[-1]]
        return self.source.episodes[unit[0]].start, last.start + last.length

    def run(self, unit: range) -> range:
        """Decode these episodes into their place, with a checksum of each frame, and flush them to the disk."""
        total = frame_count(self.source)
        out = np.memmap(self.folder / _FRAMES, np.uint8, mode="r+", shape=(total, self.size, self.size, 3))
        sums = np.memmap(self.folder / _SUMS, "<u4", mode="r+", shape=(total,))
        for k in unit:
            row = self.source.episodes[k]
            for first in range(0, row.length, _UNIT):
                numbers = np.arange(first, min(first + _UNIT, row.length))
                images = read_resized(self.source, k, self.camera, numbers, self.size, fit=self.fit)
                out[row.start + numbers] = images
                sums[row.start + numbers] = [zlib.crc32(image.data) for image in images]
        out.flush()
        sums.flush()
        return unit


_job_of_this_worker: _Job | None = None  # set once per worker process, so that it does not travel with every unit


def _begin_worker(job: _Job) -> None:
    global _job_of_this_worker
    _job_of_this_worker = job


def _run_in_worker(unit: range) -> range:
    assert _job_of_this_worker is not None
    return _job_of_this_worker.run(unit)


def _run_all(job: _Job, units: Sequence[range], workers: int) -> Iterator[range]:
    """Each unit when it is done."""
    if workers < 1:
        for unit in units:
            yield job.run(unit)
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
