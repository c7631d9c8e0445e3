"""Two ways from an index to decoded frames: packets read at their places in the file, or through its container."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.frames.index import Packets, VideoIndex
from lara.data.frames.pyav import require_av
from lara.data.frames.seal import packet_sum
from lara.errors import DataError
from lara.faults import refused

# Damage that a decoder notices is an error, not a picture made up from its neighbours. Not through a container: between
# a key frame and the next may stand frames that need what came before it.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}


class PacketDecoder:
    """Decodes packets that it reads itself: opening costs a twentieth of a millisecond, so many files cost no more than
    few. Only for an index with `packets`: packet k is frame k."""

    def __init__(self, path: Path, index: VideoIndex, packets: Packets) -> None:
        self._path, self._index, self._packets = path, index, packets
        self._tick = Fraction(index.tick).limit_denominator(10**9)
        self._position: int | None = None  # the last packet that the decoder was given
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            if (known := refused(error)) is not None:
                raise known from error
            raise DataError(f"{path}: cannot be read ({error})") from error
        self._context = self._made(_STRICT)

    def _made(self, options: dict[str, str]) -> Any:
        av = require_av("reading video")
        context = av.CodecContext.create(self._packets.codec, "r")
        context.extradata = self._packets.header or None
        context.thread_count = 1  # robot videos are small, and loaders have workers
        (context.color_range, context.colorspace, context.color_primaries, context.color_trc) = self._packets.colour
        context.options = options
        return context

    def close(self) -> None:
        """Free the decoder."""
        os.close(self._file)
        del self._context

    def frames(self, ticks: Sequence[int]) -> Iterator[Any]:
        """Ascending times in ticks, each in the index -> their frames. Raises DataError."""
        numbers = np.searchsorted(self._index.pts, ticks).tolist()
        begin = 0
        while begin < len(numbers):
            key = self._key_of(numbers[begin])
            end = begin + 1
            while end < len(numbers) and self._key_of(numbers[end]) <= numbers[end - 1] + 1:
                end += 1
            wanted = numbers[begin:end]
            try:
                yield from self._run(key, wanted)
            except DataError:
                if key == 0:
                    raise
                # Some encoders' key frames are such only for who saw what came before ("open" groups of pictures):
                # a sound file decodes from its beginning, and proves by that that its later keys may be forgiven.
                self._position = None
                yield from self._run(0, wanted)
                self._context, self._position = self._made({}), None
            begin = end

    def _key_of(self, number: int) -> int:
        place = int(np.searchsorted(self._packets.key, number, side="right")) - 1
        return int(self._packets.key[place])  # the first packet is a key frame, or there would be no `packets`

    def _run(self, key: int, wanted: list[int]) -> Iterator[Any]:
        """Frames that are reached without leaving any out between them; takes off the list what it gives."""
        av = require_av("reading video")
        if self._position is None or wanted[0] <= self._position or key > self._position + 1:
            self._context.flush_buffers()
            self._position = key - 1
        try:
            for number in range(self._position + 1, wanted[-1] + 1):
                yield from self._due(self._context.decode(self._packet(number)), wanted)
                self._position = number
            if wanted:  # the decoder holds some back, to sort what comes later: there is nothing to wait for
                self._position = None
                yield from self._due(self._context.decode(None), wanted)
        except av.error.FFmpegError as error:
            raise DataError(f"{self._path}: a frame does not decode ({error}); it is damaged, copy it again") from error
        if wanted:
            raise self._damaged(int(self._index.pts[wanted[0]]))

    def _due(self, frames: Sequence[Any], wanted: list[int]) -> Iterator[Any]:
        """Those of the decoded frames that are wanted; takes them off the list."""
        for frame in frames:
            aim = int(self._index.pts[wanted[0]]) if wanted else None
            # what follows a damaged frame is made from it
            if frame.is_corrupt or frame.pts is None:
                raise self._damaged(aim if frame.pts is None else frame.pts)
            if aim is not None and frame.pts == aim:
                wanted.pop(0)
                yield frame
            elif aim is not None and frame.pts > aim:
                raise self._damaged(aim)

    def _packet(self, number: int) -> Any:
        av = require_av("reading video")
        size = int(self._packets.size[number])
        data = os.pread(self._file, size, int(self._packets.where[number]))
        if len(data) != size:
            raise DataError(f"{self._path}: frame {number} is cut short; copy the file again")
        pts, sums = int(self._index.pts[number]), self._packets.sums
        if sums is not None and packet_sum(data, pts * self._tick) != sums[number]:
            raise DataError(f"{self._path}: frame {number} is not what was written; it is damaged, copy it again")
        packet = av.Packet(data)
        packet.pts = packet.dts = pts
        packet.time_base = self._tick
        packet.is_keyframe = self._key_of(number) == number
        return packet

    def _damaged(self, ticks: int | None) -> DataError:
        return _damaged(self._path, self._index, ticks)


class ContainerDecoder:
    """Decodes through FFmpeg's demuxer: for frames stored in another order than shown, edit lists, other containers."""

    def __init__(self, path: Path, index: VideoIndex) -> None:
        av = require_av("reading video")
        self._path, self._index = path, index
        try:
            self._container = av.open(str(path))
        except (av.error.FFmpegError, OSError) as error:
            if (known := refused(error)) is not None:
                raise known from error
            raise DataError(f"{path}: expected a readable video, but it is damaged ({error})") from error
        self._stream = self._container.streams.video[0]
        self._stream.thread_count = 1
        self._decoded: Iterator[Any] | None = None
        self._position: int | None = None  # ticks of the last frame decoded
        self._sound = 0  # ticks from which on frames must be sound: those before the first key may lack what they need

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, ticks: Sequence[int]) -> Iterator[Any]:
        """Ascending times in ticks, each in the index -> their frames. Raises DataError."""
        for one in ticks:
            yield self._frame(one)

    def _frame(self, ticks: int) -> Any:
        key = int(np.searchsorted(self._index.keys, ticks, side="right")) - 1
        if key < 0:
            raise DataError(
                f"{self._path}: no key frame at or before {ticks * self._index.tick:.6f} s; encode the video again"
            )
        here = self._position
        if self._decoded is None or here is None or here >= ticks or self._worth_seeking(here, key):
            self._decoded = self._from_key(key)
        for frame in self._decoded:
            if frame.pts is None or frame.pts < self._sound:
                continue
            self._position = frame.pts
            if frame.is_corrupt or frame.pts > ticks:  # what follows a damaged frame is made from it
                break
            if frame.pts == ticks:
                return frame
        raise _damaged(self._path, self._index, ticks)

    def _worth_seeking(self, position: int, key_number: int) -> bool:
        """When the key frame lies ahead and at least two frames would be decoded for nothing before it."""
        pts, key = self._index.pts, int(self._index.keys[key_number])
        between = np.searchsorted(pts, key) - np.searchsorted(pts, position, side="right")
        return key > position and bool(between >= 2)

    def _from_key(self, key_number: int) -> Iterator[Any]:
        """A decoder whose first packet is key frame `key_number` or an earlier one, never a later one."""
        av = require_av("reading video")
        keys, tick = self._index.keys, self._index.tick
        for number in range(key_number, -1, -1):
            key = int(keys[number])
            try:
                self._container.seek(key, stream=self._stream, backward=True, any_frame=False)
                packets = self._container.demux(self._stream)
                first = next(packets, None)
            except av.error.FFmpegError as error:
                raise DataError(
                    f"{self._path}: cannot seek to {key * tick:.6f} s ({error}); the file is damaged"
                ) from error
            if first is not None and first.pts is not None and first.is_keyframe and first.pts <= keys[key_number]:
                self._sound = first.pts
                return self._decode(first, packets)
        raise DataError(f"{self._path}: cannot seek to any key frame before {keys[key_number] * tick:.6f} s")

    def _decode(self, first: Any, rest: Iterator[Any]) -> Iterator[Any]:
        av = require_av("reading video")
        try:
            yield from first.decode()
            for packet in rest:
                yield from packet.decode()
        except av.error.FFmpegError as error:
            raise DataError(f"{self._path}: a frame does not decode ({error}); it is damaged, copy it again") from error


def _damaged(path: Path, index: VideoIndex, ticks: int | None) -> DataError:
    when = "some time" if ticks is None else f"{ticks * index.tick:.6f} s"
    return DataError(
        f"{path}: the frame at {when} is listed in the file but does not decode; "
        "the file is damaged, copy or encode it again"
    )
