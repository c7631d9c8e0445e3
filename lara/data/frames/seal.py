"""A checksum of every frame's bytes and time, kept in the video file itself: damage that a decoder cannot see.

Codecs carry no checksums: a flipped bit in a frame that is coded as a difference often decodes into its neighbour. The
sums stand in a box of their own behind everything else, which other programs skip and which encoding or copying streams
anew leaves out, so that they never speak of other bytes than those they were made of.
"""

from __future__ import annotations

import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np

from lara.data.frames.mp4 import SEAL, read_facts

_VERSION = 1
_HEAD = struct.Struct(">4I")  # version, checksum of what follows, of the description of the stream, number of frames


def seal(path: Path) -> None:
    """Append the box to an mp4 that is finished, if its frames lie in the order in which they are shown."""
    from lara.data.frames.index import read_index  # which reads the sums that this writes

    index, facts = read_index(path), read_facts(path)
    if index.packets is None or facts is None:
        return
    tick = Fraction(index.tick).limit_denominator(10**9)
    with open(path, "rb") as file:
        sums = [
            packet_sum(os.pread(file.fileno(), size, where), pts * tick)
            for size, where, pts in zip(
                index.packets.size.tolist(), index.packets.where.tolist(), index.pts.tolist(), strict=True
            )
        ]
    body = np.array(sums, ">u4").tobytes()
    rest = struct.pack(">2I", facts.description, len(sums)) + body
    data = SEAL + _HEAD.pack(_VERSION, zlib.crc32(rest), facts.description, len(sums)) + body
    with open(path, "ab") as file:
        file.write(struct.pack(">I4s", 8 + len(data), b"uuid") + data)


def packet_sum(data: bytes, time: Fraction) -> int:
    """Of one frame: what is stored and when it is shown, in seconds."""
    return zlib.crc32(data, zlib.crc32(f"{time.numerator}/{time.denominator}".encode()))


def read_sums(box: bytes, *, description: int, count: int) -> np.ndarray | None:
    """(N,) uint32 from the content of the box; None when the box or what it describes was damaged."""
    if len(box) < _HEAD.size:
        return None
    version, total, described, frames = _HEAD.unpack(box[: _HEAD.size])
    body = box[_HEAD.size :]
    sound = zlib.crc32(struct.pack(">2I", described, frames) + body) == total and len(body) == 4 * frames
    if version != _VERSION or not sound or described != description or frames != count:
        return None
    return np.frombuffer(body, ">u4").astype(np.uint32)
