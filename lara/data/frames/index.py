"""What a video file holds, found without decoding it: when each frame is shown, and where its bytes are.

Files that lara and LeRobot write (mp4, frames stored in the order in which they are shown) are answered from the file's
own index in about a millisecond, whatever their length. Everything else, and everything doubtful, is read packet by
packet.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.frames.mp4 import Mp4Facts, holds_seal, read_facts
from lara.data.frames.pyav import require_av
from lara.data.frames.seal import read_sums
from lara.errors import DataError
from lara.faults import refused

# decoders that give every frame of a stream in order as soon as it can be given, with the time of its packet
DIRECT = {"h264", "hevc", "av1", "libdav1d", "vp9", "libvpx-vp9"}
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, kw_only=True)
class Packets:
    """The N packets of a file whose packet k is its frame k: decoding needs no container.

    Attributes:
        where: (N,) int64, byte at which each begins. size: (N,) int64, bytes.
        key: (K,) int64, numbers of the key frames, ascending.
        codec: FFmpeg's name of the decoder. header: its configuration.
        colour: range, matrix, primaries and transfer as the container gives them.
        sums: (N,) uint32, checksums from the day of writing, see `frames.seal`; None where there are none.
    """

    where: np.ndarray
    size: np.ndarray
    key: np.ndarray
    codec: str
    header: bytes
    colour: tuple[int, int, int, int]
    sums: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class VideoIndex:
    """One file.

    Attributes:
        pts: (N,) int64 ticks, ascending: when each frame that is shown (not hidden by an edit list) is shown.
        keys: (K,) int64 ticks, ascending: where decoding may begin, also at hidden frames.
        tick: seconds per tick.
        rate: frames per second as the file states it; None where it does not.
        size: (height, width) upright.
        turn: see `upright`.
        packets: None where the file has to be read through its container.
        cost: numbers held, by which a reader bounds how many of these it keeps.
    """

    pts: np.ndarray
    keys: np.ndarray
    tick: float
    rate: float | None
    size: tuple[int, int]
    turn: tuple[bool, bool, bool]
    packets: Packets | None

    @property
    def times(self) -> np.ndarray:
        """(N,) seconds, ascending: when each frame is shown."""
        return self.pts * self.tick

    @property
    def cost(self) -> int:
        """See above."""
        return (3 if self.packets is not None else 1) * len(self.pts) + len(self.keys)


def upright(image: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    """(h, w, 3) as stored -> as shown; turn: swap rows and columns, then flip up and down, then left and right."""
    swap, vertical, horizontal = turn
    if swap:
        image = image.transpose(1, 0, 2)
    return image[:: -1 if vertical else 1, :: -1 if horizontal else 1]


def read_index(path: Path) -> VideoIndex:
    """Raises DataError for a file that is missing, cut short, not a video or not fetched yet."""
    av = require_av("reading video")
    if not path.is_file():
        raise DataError(f"{path}: expected a video file, found nothing; copy it from the source of the dataset")
    _require_content(path)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DataError(f"{path}: its codec is not known here, or its name is damaged; encode it again")
            stream.thread_count = 1
            if "mp4" not in container.format.name:
                return _from_packets(path, container, stream, None)
            facts = read_facts(path)
            if facts is not None and facts.direct:
                found = _from_index(path, container, stream, facts)
                if found is not None:
                    return found
            if holds_seal(path):  # which only files get that their index describes
                raise DataError(f"{path}: is not what was written (its index says so); it is damaged, copy it again")
        with av.open(str(path)) as container:  # from its beginning again
            return _from_packets(path, container, container.streams.video[0], facts)
    except (av.error.FFmpegError, IndexError, OSError, UnicodeDecodeError) as error:
        if (known := refused(error)) is not None:
            raise known from error
        raise DataError(f"{path}: expected a readable video, but it is damaged or cut short ({error})") from error


def _require_content(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(len(_POINTER))
    except OSError as error:
        if (known := refused(error)) is not None:
            raise known from error
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not head:
        raise DataError(f"{path}: has no bytes at all: damaged or cut short, copy it again")
    if head == _POINTER:
        raise DataError(f"{path}: is a git-lfs pointer, not the video; fetch the files with: git lfs pull")


def _from_index(path: Path, container: Any, stream: Any, facts: Mp4Facts) -> VideoIndex | None:
    """The file's own index, if everything that can be checked without reading all of the file speaks for it."""
    rows = _rows(path, stream)
    count = len(rows)
    if count == 0 or stream.frames != count:
        return None
    pts, key, where, size, hidden = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    if hidden.any() or (np.diff(pts) <= 0).any() or (where < 0).any() or (size <= 0).any() or not key[0]:
        return None
    if (where + size).max() > path.stat().st_size:
        raise DataError(
            f"{path}: its index promises {(where + size).max()} bytes, {path.stat().st_size} are there; the file is "
            "cut short, copy it again"
        )
    first = next((p for p in container.demux(stream) if p.dts is not None), None)
    if first is None or first.pts is None or first.dts != pts[0] or first.is_corrupt:
        return None
    pts += first.pts - first.dts  # the index counts when frames are decoded
    with open(path, "rb") as file:
        file.seek(int(where[0]))
        if file.read(int(size[0])) != bytes(first):
            return None
    context = stream.codec_context
    if context.codec.name not in DIRECT:
        return None
    sums = None if facts.seal is None else read_sums(facts.seal, description=facts.description, count=count)
    if facts.seal is not None and sums is None:
        raise DataError(f"{path}: is not what was written (its checksums say so); it is damaged, copy it again")
    colour = (
        int(context.color_range),
        int(context.colorspace),
        int(context.color_primaries),
        int(context.color_trc),
    )
    return VideoIndex(
        pts=pts,
        keys=pts[key > 0],
        tick=float(stream.time_base),
        rate=None if stream.average_rate is None else float(stream.average_rate),
        size=_shown_size(stream, facts.turn),
        turn=facts.turn,
        packets=Packets(
            where=where,
            size=size,
            key=np.flatnonzero(key),
            codec=context.codec.name,
            header=bytes(context.extradata or b""),
            colour=colour,
            sums=sums,
        ),
    )


def _rows(path: Path, stream: Any) -> list[tuple[int, bool, int, int, bool]]:
    """When each packet is decoded, whether it is a key frame, its place and size, whether it is hidden."""
    if hasattr(stream, "index_entries"):
        return [(e.timestamp, e.is_keyframe, e.pos, e.size, e.is_discard) for e in stream.index_entries]
    with require_av("reading video").open(str(path)) as container:  # PyAV before 16: all of the file has to be read
        packets = [p for p in container.demux(video=0) if p.dts is not None and p.pos is not None]
        return [(p.dts, p.is_keyframe, p.pos, p.size, p.is_discard) for p in packets]


def _from_packets(path: Path, container: Any, stream: Any, facts: Mp4Facts | None) -> VideoIndex:
    packets = [(p.pts, p.is_keyframe, p.is_discard, p.is_corrupt) for p in container.demux(stream) if p.dts is not None]
    if not packets or any(corrupt or pts is None for pts, _, _, corrupt in packets):
        raise DataError(f"{path}: holds no frames, or damaged ones; the file is cut short, copy it again")
    # an edit list leaves packets out that the header counts; the index is then made of those that are left
    edited = facts is not None and facts.edited
    promised = len(getattr(stream, "index_entries", ())) if edited else stream.frames
    if promised and promised != len(packets):
        raise DataError(f"{path}: its header promises {promised} frames, {len(packets)} are there; it is cut short")
    shown = np.sort(np.array([pts for pts, _, hidden, _ in packets if not hidden], np.int64))
    if len(shown) == 0 or (np.diff(shown) <= 0).any():
        raise DataError(f"{path}: {len(shown)} frames are shown, not each at a time of its own; encode it again")
    turn = facts.turn if facts is not None else _turn_of_first_frame(path, container, stream)
    return VideoIndex(
        pts=shown,
        keys=np.sort(np.array([pts for pts, key, _, _ in packets if key], np.int64)),
        tick=float(stream.time_base),
        rate=None if stream.average_rate is None else float(stream.average_rate),
        size=_shown_size(stream, turn),
        turn=turn,
        packets=None,
    )


def _turn_of_first_frame(path: Path, container: Any, stream: Any) -> tuple[bool, bool, bool]:
    """Containers other than mp4 give the orientation to the decoder only."""
    container.seek(0, backward=True, any_frame=False)
    frame = next(iter(container.decode(stream)), None)
    turns = {0: (False, False, False), 90: (True, True, False), 180: (False, True, True), 270: (True, False, True)}
    angle = 0 if frame is None else round(frame.rotation) % 360
    if angle not in turns:
        raise DataError(f"{path}: is shown turned by {angle} degrees; encode it again upright")
    return turns[angle]


def _shown_size(stream: Any, turn: tuple[bool, bool, bool]) -> tuple[int, int]:
    size = (int(stream.codec_context.height), int(stream.codec_context.width))
    return (size[1], size[0]) if turn[0] else size


def stamp_of(path: Path) -> tuple[int, int]:
    """(bytes, modification time): by these a reader notices that a file was replaced. Raises DataError if absent."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise DataError(
            f"{path}: expected a video file, found nothing; copy it from the source of the dataset"
        ) from None
    return status.st_size, status.st_mtime_ns
