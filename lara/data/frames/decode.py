"""Read exact frames from video: what was asked for, or an error naming file and time. Never a neighbour."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lara.data.frames.encode import require_av
from lara.errors import DataError, MissingExtraError, missing_extra
from lara.faults import refused


class VideoReader(Protocol):
    """Decodes RGB frames. One instance serves many files and keeps a bounded number of them open."""

    def count(self, path: Path) -> int:
        """The number of frames that the file really holds, found without decoding. Raises DataError."""
        ...

    def frames(self, path: Path, times: np.ndarray, *, tolerance: float) -> np.ndarray:
        """(n,) seconds, any order, repeats allowed -> (n, h, w, 3) uint8 RGB, in the order asked.

        A frame's time must be within `tolerance` seconds of the time asked, otherwise DataError. All times of one
        call are served in one pass through the file: seek only where that skips frames, decode forward elsewhere.
        """
        ...


@dataclass
class _Open:
    """One open file: its packet table (in display order) and where the decoder stands."""

    container: Any
    stream: Any
    pts: np.ndarray  # (N,) ticks, ascending
    keys: np.ndarray  # (K,) ticks of key frames, ascending
    tick: float  # seconds per tick
    decoder: Iterator[Any] | None = None
    position: int | None = None  # ticks of the last frame decoded


class PyAVReader:
    """`VideoReader` over PyAV (its wheel carries FFmpeg). Survives fork: a child opens files of its own."""

    def __init__(self, max_open: int = 16) -> None:
        self._max_open = max_open
        self._files: OrderedDict[Path, _Open] = OrderedDict()
        self._inherited: list[OrderedDict[Path, _Open]] = []
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_max_open": self._max_open, "_files": OrderedDict(), "_inherited": [], "_process": os.getpid()}

    def count(self, path: Path) -> int:
        """See `VideoReader.count`."""
        return len(self._file(path).pts)

    def times(self, path: Path) -> np.ndarray:
        """(N,) seconds, ascending: when each frame is shown, found without decoding. Raises DataError."""
        file = self._file(path)
        return file.pts * file.tick

    def frames(self, path: Path, times: np.ndarray, *, tolerance: float) -> np.ndarray:
        """See `VideoReader.frames`."""
        file = self._file(path)
        wanted = _nearest_ticks(path, file.pts, file.tick, np.asarray(times, np.float64), tolerance)
        unique, place = np.unique(wanted, return_inverse=True)
        decoded: list[np.ndarray] = []
        try:
            for ticks in unique.tolist():
                decoded.append(self._decode(path, file, ticks))
        except BaseException:
            self._close(path)  # the decoder's state is unknown now
            raise
        if not decoded:
            raise DataError(f"{path}: asked for no frames at all; ask for at least one")
        return np.stack(decoded)[place]

    def close(self) -> None:
        """Close every file."""
        for path in list(self._files):
            self._close(path)

    def _close(self, path: Path) -> None:
        file = self._files.pop(path, None)
        if file is not None:
            file.container.close()

    def _file(self, path: Path) -> _Open:
        if self._process != os.getpid():  # after a fork the parent's decoders and file offsets are not ours to move
            # (kept, not freed: freeing a decoder waits for its threads, which no child inherits)
            self._inherited = [*self._inherited, self._files]
            self._files, self._process = OrderedDict(), os.getpid()
        if path in self._files:
            self._files.move_to_end(path)
            return self._files[path]
        file = _open(path)
        self._files[path] = file
        while len(self._files) > self._max_open:
            self._close(next(iter(self._files)))
        return file

    def _decode(self, path: Path, file: _Open, ticks: int) -> np.ndarray:
        key_number = int(np.searchsorted(file.keys, ticks, side="right")) - 1
        if key_number < 0:
            raise DataError(f"{path}: no key frame at or before {ticks * file.tick:.6f} s; encode the video again")
        here = file.position
        if file.decoder is None or here is None or here >= ticks or _worth_seeking(file, here, key_number):
            file.decoder = _decoder_from(path, file, key_number)
        for frame in file.decoder:
            file.position = frame.pts
            if frame.pts == ticks:
                if frame.is_corrupt:
                    break
                return frame.to_ndarray(format="rgb24")
            if frame.pts is not None and frame.pts > ticks:
                break
        raise DataError(
            f"{path}: the frame at {ticks * file.tick:.6f} s is listed in the file but does not decode; "
            "the file is damaged, copy or encode it again"
        )


def _worth_seeking(file: _Open, position: int, key_number: int) -> bool:
    """Seek when the key frame lies ahead and at least two frames would be decoded for nothing before it."""
    key = int(file.keys[key_number])
    between = np.searchsorted(file.pts, key) - np.searchsorted(file.pts, position, side="right")
    return key > position and bool(between >= 2)


def _open(path: Path) -> _Open:
    av = require_av("reading video")
    if not path.is_file():
        raise DataError(f"{path}: expected a video file, found nothing; copy it from the source of the dataset")
    container = None
    try:
        container = av.open(str(path))
        stream = container.streams.video[0]
        stream.thread_count = 1  # robot videos are small: threads cost more than they bring, and loaders have workers
        packets = [(p.pts, p.is_keyframe, p.is_corrupt) for p in container.demux(stream) if p.dts is not None]
    except (av.error.FFmpegError, IndexError, OSError, UnicodeDecodeError) as error:
        if container is not None:
            container.close()
        if (known := refused(error)) is not None:
            raise known from error
        raise DataError(f"{path}: expected a readable video, but it is damaged or cut short ({error})") from error
    if not packets or any(corrupt or pts is None for pts, _, corrupt in packets):
        container.close()
        raise DataError(f"{path}: holds no frames, or damaged ones; the file is cut short, copy it again")
    if stream.frames and stream.frames != len(packets):
        container.close()
        raise DataError(
            f"{path}: its header promises {stream.frames} frames, {len(packets)} are there; the file is cut short"
        )
    return _Open(
        container=container,
        stream=stream,
        pts=np.sort(np.array([pts for pts, _, _ in packets], np.int64)),
        keys=np.sort(np.array([pts for pts, key, _ in packets if key], np.int64)),
        tick=float(stream.time_base),
    )


def _nearest_ticks(path: Path, pts: np.ndarray, tick: float, times: np.ndarray, tolerance: float) -> np.ndarray:
    right = np.clip(np.searchsorted(pts * tick, times), 1, max(len(pts) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(pts) - 1)
    use_left = np.abs(pts[left] * tick - times) <= np.abs(pts[right] * tick - times)
    nearest = np.where(use_left, pts[left], pts[right])
    off = np.abs(nearest * tick - times)
    if (off > tolerance).any():
        worst = int(np.argmax(off))
        raise DataError(
            f"{path}: no frame at {times[worst]:.6f} s; the nearest of its {len(pts)} frames is at "
            f"{nearest[worst] * tick:.6f} s, more than {tolerance:.6f} s away. Video and table disagree"
        )
    return nearest


def _decoder_from(path: Path, file: _Open, key_number: int) -> Iterator[Any]:
    """A decoder whose first packet is key frame `key_number` or an earlier one, never a later one."""
    av = require_av("reading video")
    for number in range(key_number, -1, -1):
        key = int(file.keys[number])
        try:
            file.container.seek(key, stream=file.stream, backward=True, any_frame=False)
            packets = file.container.demux(file.stream)
            first = next(packets, None)
        except av.error.FFmpegError as error:
            raise DataError(f"{path}: cannot seek to {key * file.tick:.6f} s ({error}); the file is damaged") from error
        if first is not None and first.pts is not None and first.is_keyframe and first.pts <= file.keys[key_number]:
            return _decode_packets(path, first, packets)
    raise DataError(f"{path}: cannot seek to any key frame before {file.keys[key_number] * file.tick:.6f} s")


def _decode_packets(path: Path, first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    av = require_av("reading video")
    try:
        yield from first.decode()
        for packet in rest:
            yield from packet.decode()
    except av.error.FFmpegError as error:
        raise DataError(f"{path}: a frame does not decode ({error}); the file is damaged, copy it again") from error


# one black frame of 16 x 16 pixels that any FFmpeg reads and no codec decodes
_ONE_FRAME = b"YUV4MPEG2 W16 H16 F1:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(16 * 16 * 3 // 2)


@cache
def require_torchcodec() -> Any:
    """torchcodec's `VideoDecoder`, after it has decoded a frame: it imports without the FFmpeg libraries that it needs.

    Raises MissingExtraError saying what is missing, the package or the system's libraries.
    """
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder(_ONE_FRAME).get_frame_at(0)
    except ImportError as error:
        raise missing_extra("torchcodec", "torchcodec", "reading video with torchcodec") from error
    except (RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise MissingExtraError(
            "torchcodec is installed and decodes nothing here: it needs the shared libraries of FFmpeg 4 to 9 (Debian: "
            f"apt-get install ffmpeg), or read with PyAV, which brings its own. It said: {said}"
        ) from error
    return VideoDecoder


class TorchCodecReader:
    """`VideoReader` over torchcodec (needs the system's FFmpeg), exact seek mode, every time checked."""

    def __init__(self, max_open: int = 16) -> None:
        self._max_open = max_open
        self._decoders: OrderedDict[Path, Any] = OrderedDict()
        self._inherited: list[OrderedDict[Path, Any]] = []
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_max_open": self._max_open, "_decoders": OrderedDict(), "_inherited": [], "_process": os.getpid()}

    def count(self, path: Path) -> int:
        """See `VideoReader.count`."""
        return int(self._decoder(path).metadata.num_frames)

    def frames(self, path: Path, times: np.ndarray, *, tolerance: float) -> np.ndarray:
        """See `VideoReader.frames`."""
        times = np.asarray(times, np.float64)
        decoder = self._decoder(path)
        end = decoder.metadata.end_stream_seconds
        # Aim a little inside each frame, so that rounding never lands in the one before.
        aims = times + tolerance / 2
        if len(times) == 0 or (aims < 0).any() or (aims >= end).any():
            raise DataError(f"{path}: asked for frames at {times} s, the video runs from 0 to {end} s")
        try:
            batch = decoder.get_frames_played_at(seconds=aims.tolist())
        except (RuntimeError, ValueError, IndexError) as error:
            raise DataError(f"{path}: frames do not decode ({error}); the file is damaged, copy it again") from error
        off = np.abs(batch.pts_seconds.numpy() - times)
        if (off > tolerance).any():
            worst = int(np.argmax(off))
            raise DataError(f"{path}: no frame at {times[worst]:.6f} s; the nearest is {off[worst]:.6f} s away")
        return batch.data.permute(0, 2, 3, 1).contiguous().numpy()

    def _decoder(self, path: Path) -> Any:
        make = require_torchcodec()
        if self._process != os.getpid():  # see PyAVReader
            self._inherited = [*self._inherited, self._decoders]
            self._decoders, self._process = OrderedDict(), os.getpid()
        if path not in self._decoders:
            if not path.is_file():
                raise DataError(f"{path}: expected a video file, found nothing; copy it from the source of the dataset")
            try:
                self._decoders[path] = make(str(path), seek_mode="exact", num_ffmpeg_threads=1)
            except (RuntimeError, ValueError, OSError) as error:
                if (known := refused(error)) is not None:
                    raise known from error
                raise DataError(f"{path}: expected a readable video, but it is damaged ({error})") from error
        self._decoders.move_to_end(path)
        while len(self._decoders) > self._max_open:
            self._decoders.popitem(last=False)
        return self._decoders[path]
