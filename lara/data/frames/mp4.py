"""What the boxes of an mp4 or mov file say that FFmpeg's interface does not: order, edits and orientation."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SEAL = bytes.fromhex("6c6172612d73756d73000000cafe0001")  # the name of the box that `frames.seal` writes

_INSIDE = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}
_MOST = 1 << 16  # boxes looked at; a real file has some tens, a hostile one may claim any number
_ALIKE = 12  # of the 16 bytes of the seal's name
_TAIL = 1 << 22  # bytes at a file's end among which a seal is looked for: a million frames
_UNIT = 1 << 16  # a matrix holds fixed-point numbers with 16 bits behind the point


@dataclass(frozen=True, kw_only=True)
class Mp4Facts:
    """About the first video track.

    Attributes:
        direct: every packet is a frame, shown in the order of storage, at the place that the file's index gives; where
            False, it may be so or not.
        edited: an edit list says which part is shown.
        turn: see `upright`.
        description: a checksum of what says how the stream is coded.
        seal: the content of the box that `frames.seal` wrote; None without one.
    """

    direct: bool
    edited: bool
    turn: tuple[bool, bool, bool]
    description: int
    seal: bytes | None


@dataclass
class _Track:
    video: bool = False
    in_order: bool = True  # frames are decoded in the order in which they are shown
    edits: list[tuple[int, int]] = field(default_factory=list)
    matrix: tuple[int, int, int, int] = (_UNIT, 0, 0, _UNIT)
    description: int = 0


def read_facts(path: Path) -> Mp4Facts | None:
    """The facts, or None when the boxes cannot be followed or hold no video track."""
    tracks: list[_Track] = []
    fragmented, sealed = False, None
    with open(path, "rb") as file:
        try:
            for kind, begin, end in _boxes(file, 0, path.stat().st_size):
                fragmented |= kind in (b"moof", b"mvex", b"sidx")
                sealed = _seal(file, begin, end) if sealed is None else sealed
                if kind == b"trak":
                    tracks.append(_Track())
                elif tracks:
                    _note(file, tracks[-1], kind, begin, end)
        except (struct.error, ValueError):
            return None
    videos = [track for track in tracks if track.video]
    if not videos:
        return None
    track = videos[0]
    direct = not fragmented and track.in_order and len(track.edits) <= 1
    turn = _turn(track.matrix)
    if turn is None:
        return None
    return Mp4Facts(direct=direct, edited=bool(track.edits), turn=turn, description=track.description, seal=sealed)


def _seal(file: BinaryIO, begin: int, end: int) -> bytes | None:
    """What a sealing box holds; nothing where its own name is damaged, which is damage, not the absence of a seal."""
    file.seek(begin)
    name = file.read(len(SEAL))
    alike = sum(a == b for a, b in zip(name, SEAL, strict=False))
    if alike < _ALIKE:
        return None
    return file.read(end - begin - len(SEAL)) if name == SEAL else b""


def holds_seal(path: Path) -> bool:
    """Whether the file was sealed, also where its boxes cannot be followed any more."""
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - _TAIL, 0))
        return SEAL in file.read()


def _turn(matrix: tuple[int, int, int, int]) -> tuple[bool, bool, bool] | None:
    """(a, b, c, d): a point (x, y) of the stored picture is shown at (a x + c y, b x + d y)."""
    a, b, c, d = matrix
    if a and d and not b and not c:
        return False, d < 0, a < 0
    if b and c and not a and not d:
        return True, b < 0, c < 0
    return None


def _note(file: BinaryIO, track: _Track, kind: bytes, begin: int, end: int) -> None:
    if kind not in (b"hdlr", b"tkhd", b"elst", b"stsd", b"ctts"):
        return
    file.seek(begin)
    data = file.read(min(end - begin, 1 << 16))
    if kind == b"stsd":
        track.description = zlib.crc32(data)
    elif kind == b"ctts":
        # an encoder that might have reordered and did not (a key frame every 2nd) shows every frame as much later
        (count,) = struct.unpack(">I", data[4:8])
        offsets = {data[12 + 8 * k : 16 + 8 * k] for k in range(min(count, len(data) // 8))}
        track.in_order = len(offsets) == 1 and 8 * count + 8 <= len(data)
    elif kind == b"hdlr":
        # a track's own handler says what it shows; one of a data reference (mov) says "alis"
        track.video |= data[8:12] == b"vide"
    elif kind == b"tkhd":
        at = 40 if data[0] == 0 else 52
        a, b, _, c, d = struct.unpack(">5i", data[at : at + 20])
        track.matrix = (a, b, c, d)
    elif kind == b"elst":
        (count,) = struct.unpack(">I", data[4:8])
        form, size = (">Ii", 12) if data[0] == 0 else (">Qq", 20)
        for k in range(min(count, 8)):
            at = 8 + k * size
            track.edits.append(struct.unpack(form, data[at : at + struct.calcsize(form)]))


def _boxes(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, begin, end) of the content of each box and of what lies in it, in order. Raises ValueError if broken."""
    seen = 0
    open_until = [end]
    at = begin
    while open_until:
        if at >= open_until[-1]:
            open_until.pop()
            continue
        file.seek(at)
        head = file.read(16)
        size, kind = struct.unpack(">I4s", head[:8])
        content = at + 8
        if size == 1:
            (size,) = struct.unpack(">Q", head[8:16])
            content = at + 16
        stop = open_until[-1] if size == 0 else at + size
        seen += 1
        if stop < content or stop > open_until[-1] or seen > _MOST:
            raise ValueError(f"a box at byte {at} ends at {stop}, outside of its place")
        yield kind, content, stop
        if kind in _INSIDE:
            open_until.append(stop)
            at = content
        else:
            at = stop
