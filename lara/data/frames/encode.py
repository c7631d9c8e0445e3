"""Encode one mp4 per episode and camera; join them into longer files without encoding again. Needs PyAV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lara.data.frames.pyav import require_av
from lara.data.frames.seal import seal
from lara.errors import ConfigError, DataError, MissingExtraError

Codec = Literal["libsvtav1", "h264"]


@dataclass(frozen=True, kw_only=True)
class VideoStorage:
    """How frames become video. The defaults are lerobot's: AV1, a key frame every 2nd frame, quality 30, preset 12.

    codec: "libsvtav1" (AV1) or "h264". gop: frames from one key frame to the next, the price of a random read.
    crf: 0 best ... 63 (AV1) or 51 (h264) worst. preset: the encoder's own speed preset (AV1 only; higher is faster).
    threads: encoder threads per video; 1 suits collectors that run in parallel.
    """

    buildable: ClassVar[str] = "data"

    codec: Codec = "libsvtav1"
    gop: int = 2
    crf: int = 30
    preset: int = 12
    threads: int = 1

    def __post_init__(self) -> None:
        if self.codec not in ("libsvtav1", "h264"):
            raise ConfigError(f"video codec must be 'libsvtav1' or 'h264', got '{self.codec}'")
        if self.gop < 1 or self.threads < 1 or not 0 <= self.crf <= 63:
            raise ConfigError(f"expected gop >= 1, threads >= 1, 0 <= crf <= 63; got {self}")

    def options(self) -> dict[str, str]:
        """The encoder's option strings."""
        options = {"g": str(self.gop), "crf": str(self.crf)}
        if self.codec == "libsvtav1":
            return {**options, "preset": str(self.preset), "svtav1-params": f"lp={self.threads}"}
        # Without B-frames packets are in display order, which makes joining a matter of adding an offset.
        return {**options, "bf": "0", "sc_threshold": "0", "threads": str(self.threads)}


@dataclass(frozen=True, kw_only=True)
class ImageStorage:
    """Frames as lossless PNG inside the parquet files: larger and slower to read, but exact."""

    compress_level: int = 6

    def __post_init__(self) -> None:
        if not 0 <= self.compress_level <= 9:
            raise ConfigError(f"PNG compress_level must be in 0..9, got {self.compress_level}")


@cache
def require_encoder(codec: str) -> None:
    """Raises MissingExtraError when this PyAV cannot encode `codec`; builds against a system's FFmpeg may lack it."""
    av = require_av("writing video")
    try:
        av.CodecContext.create(codec, "w")
    except (ValueError, av.error.FFmpegError) as error:
        raise MissingExtraError(
            f"this build of PyAV has no encoder '{codec}' ({error}); install PyAV from its wheel, which brings FFmpeg "
            "(pip install --force-reinstall --only-binary av av), or store otherwise (storage.codec=h264, ImageStorage)"
        ) from error


def frame_rate(fps: float) -> Fraction:
    """29.97 and its kin as the exact NTSC fractions, everything else as the nearest fraction. Raises DataError."""
    if not fps > 0:
        raise DataError(f"fps must be positive, got {fps}")
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    return (
        ntsc
        if abs(float(ntsc) - fps) < 0.0051 and not float(fps).is_integer()
        else Fraction(fps).limit_denominator(1000)
    )


def encode_video(path: Path, images: np.ndarray, *, fps: float, storage: VideoStorage) -> None:
    """Write (T, h, w, 3) uint8 RGB as an mp4 whose frame i is shown at i / fps seconds (yuv420p: h and w even).

    Raises DataError for odd sizes, MissingExtraError without PyAV.
    """
    av = require_av("writing video")
    length, height, width, _ = images.shape
    if height % 2 or width % 2:
        raise DataError(
            f"{path}: yuv420p video needs an even height and width, got {height} x {width}; "
            "render at an even size or store images with ImageStorage()"
        )
    require_encoder(storage.codec)
    os.environ.setdefault("SVT_LOG", "1")  # errors only; the encoder prints a banner per video otherwise
    rate = frame_rate(fps)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(storage.codec, rate=rate, options=storage.options())
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for number in range(length):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(images[number]), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    seal(path)


def codec_header(path: Path) -> bytes:
    """The decoder configuration stored once per mp4; only videos that agree on it can share a file."""
    av = require_av("joining video")
    with av.open(str(path)) as container:
        return bytes(container.streams.video[0].codec_context.extradata or b"")


def join_videos(parts: Sequence[Path], target: Path, *, fps: float, lengths: Sequence[int]) -> None:
    """Copy the packets of `parts` one after another into `target`; part k begins where part k-1's last frame ends.

    No frame is decoded or encoded: the pixels stay exactly those of the parts. lengths[k] is the number of frames
    that part k must have. Raises DataError when a part has another number, another codec header or size.
    """
    av = require_av("joining video")
    step = 1 / frame_rate(fps)
    header = codec_header(parts[0])
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as output:
        stream = None
        done = 0
        for part, length in zip(parts, lengths, strict=True):
            with av.open(str(part)) as source:
                incoming = source.streams.video[0]
                if stream is None:
                    stream = output.add_stream_from_template(incoming, opaque=True)
                    stream.time_base = incoming.time_base
                if bytes(incoming.codec_context.extradata or b"") != header or incoming.time_base != stream.time_base:
                    raise DataError(f"{part}: another codec configuration than {parts[0]}; they cannot share a file")
                ticks = step / incoming.time_base
                if ticks.denominator != 1:
                    raise DataError(
                        f"{part}: its time base {incoming.time_base} does not divide 1/{fps} s; encode again"
                    )
                count = 0
                for packet in source.demux(incoming):
                    if packet.dts is None:  # the end marker
                        continue
                    packet.pts += done * int(ticks)
                    packet.dts += done * int(ticks)
                    packet.stream = stream
                    output.mux(packet)
                    count += 1
            if count != length:
                raise DataError(f"{part}: expected {length} frames, got {count}; stage the episode again")
            done += length
    seal(target)
