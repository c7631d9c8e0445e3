"""Read exact frames from video: what was asked for, or an error naming file and time. Never a neighbour."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lara.data.frames.decoders import ContainerDecoder, PacketDecoder
from lara.data.frames.index import VideoIndex, read_index, stamp_of, upright
from lara.data.frames.pyav import require_av
from lara.errors import DataError

_INDEXED = 1 << 22  # numbers of 8 bytes kept about files: 32 MiB, some thousands of robot episodes


class VideoReader(Protocol):
    """Decodes RGB frames. One instance serves many files and keeps a bounded number of them open."""

    def count(self, path: Path) -> int:
        """The number of frames that the file really shows, found without decoding. Raises DataError."""
        ...

    def frames(self, path: Path, times: np.ndarray, *, tolerance: float) -> np.ndarray:
        """(n,) seconds, any order, repeats allowed -> (n, h, w, 3) uint8 RGB, upright, in the order asked.

        A frame's time must be within `tolerance` seconds of the time asked, otherwise DataError. All times of one
        call are served in one pass through the file: seek only where that skips frames, decode forward elsewhere.
        """
        ...


class PyAVReader:
    """`VideoReader` over PyAV (its wheel carries FFmpeg). Survives fork: a child opens files of its own.

    Decoders stand still in `max_open` files, so that reading on costs nothing twice. What is known about a file is
    small and kept for thousands, so that coming back to one costs an opening and no more.
    """

    def __init__(self, max_open: int = 16) -> None:
        self._max_open = max_open
        self._begin()
        self._inherited: list[Any] = []

    def _begin(self) -> None:
        self._indexes: OrderedDict[Path, tuple[tuple[int, int], VideoIndex]] = OrderedDict()
        self._decoders: OrderedDict[Path, PacketDecoder | ContainerDecoder] = OrderedDict()
        self._cost = 0
        self._colours: Any = None  # made once: it holds the tables of the conversion to RGB
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_max_open": self._max_open}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**{name.removeprefix("_"): value for name, value in state.items()})  # type: ignore[misc]

    def count(self, path: Path) -> int:
        """See `VideoReader.count`."""
        return len(self.index(path).pts)

    def times(self, path: Path) -> np.ndarray:
        """(N,) seconds, ascending: when each frame is shown, found without decoding. Raises DataError."""
        return self.index(path).times

    def frames(self, path: Path, times: np.ndarray, *, tolerance: float) -> np.ndarray:
        """See `VideoReader.frames`."""
        index = self.index(path)
        wanted = _nearest_ticks(path, index.pts, index.tick, np.asarray(times, np.float64), tolerance)
        if len(wanted) == 0:
            raise DataError(f"{path}: asked for no frames at all; ask for at least one")
        unique, place = np.unique(wanted, return_inverse=True)
        decoder = self._decoder(path, index)
        try:
            images = list(self._images(path, index, decoder.frames(unique.tolist())))
        except BaseException:
            self._close(path)  # the decoder's state is unknown now
            raise
        if len(unique) == 1:  # the most frequent request, without another copy
            return np.ascontiguousarray(images[0][None]) if len(place) == 1 else np.stack(images)[place]
        out = np.empty((len(place), *images[0].shape), np.uint8)
        for k, number in enumerate(place.tolist()):
            out[k] = images[number]
        return out

    def _images(self, path: Path, index: VideoIndex, frames: Iterator[Any]) -> Iterator[np.ndarray]:
        if self._colours is None:
            require_av("reading video")
            from av.video.reformatter import VideoReformatter

            self._colours = VideoReformatter()
        for frame in frames:
            image = upright(self._colours.reformat(frame, format="rgb24").to_ndarray(), index.turn)
            if image.shape[:2] != index.size:
                raise DataError(
                    f"{path}: holds frames of {image.shape[:2]} and of {index.size} pixels; encode it again"
                )
            yield image

    def close(self) -> None:
        """Close every file."""
        for path in list(self._decoders):
            self._close(path)

    def _close(self, path: Path) -> None:
        decoder = self._decoders.pop(path, None)
        if decoder is not None:
            decoder.close()

    def index(self, path: Path) -> VideoIndex:
        """What the file holds; read again only when it changed. Raises DataError."""
        if self._process != os.getpid():  # after a fork the parent's decoders and file offsets are not ours to move
            # (kept, not freed: freeing a decoder waits for its threads, which no child inherits)
            self._inherited.append((self._decoders, self._colours))
            self._begin()
        stamp = stamp_of(path)
        known = self._indexes.get(path)
        if known is not None and known[0] == stamp:
            self._indexes.move_to_end(path)
            return known[1]
        self._forget(path)
        index = read_index(path)
        self._indexes[path] = stamp, index
        self._cost += index.cost
        while self._cost > _INDEXED and len(self._indexes) > 1:
            self._forget(next(iter(self._indexes)))
        return index

    def _forget(self, path: Path) -> None:
        self._close(path)
        known = self._indexes.pop(path, None)
        if known is not None:
            self._cost -= known[1].cost

    def _decoder(self, path: Path, index: VideoIndex) -> PacketDecoder | ContainerDecoder:
        if path not in self._decoders:
            while len(self._decoders) >= self._max_open:
                self._close(next(iter(self._decoders)))
            if index.packets is None:
                self._decoders[path] = ContainerDecoder(path, index)
            else:
                self._decoders[path] = PacketDecoder(path, index, index.packets)
        self._decoders.move_to_end(path)
        return self._decoders[path]


def _nearest_ticks(path: Path, pts: np.ndarray, tick: float, times: np.ndarray, tolerance: float) -> np.ndarray:
    right = np.clip(np.searchsorted(pts * tick, times), 1, max(len(pts) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(pts) - 1)
    use_left = np.abs(pts[left] * tick - times) <= np.abs(pts[right] * tick - times)
    nearest = np.where(use_left, pts[left], pts[right])
    off = np.abs(nearest * tick - times)
    if not (off <= tolerance).all():  # also for times that are no numbers
        worst = int(np.argmax(np.nan_to_num(off, nan=np.inf)))
        raise DataError(
            f"{path}: no frame at {times[worst]:.6f} s; the nearest of its {len(pts)} frames is at "
            f"{nearest[worst] * tick:.6f} s, more than {tolerance:.6f} s away. Video and table disagree"
        )
    return nearest
