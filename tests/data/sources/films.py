"""Films for tests: frame k shows the number k, in ways that people's cameras and tools store films."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.frames.encode import require_av

BITS = 12


def shown(number: int, height: int = 32, width: int = 48) -> np.ndarray:
    """(h, w, 3) uint8: one stripe per bit across the picture; the upper third is black, so that up is not down."""
    bits = (number >> np.arange(BITS)) & 1
    stripes = np.repeat(bits * 255, width // BITS).astype(np.uint8)
    image = np.broadcast_to(stripes[None, :, None], (height, width, 3)).copy()
    image[: height // 3] = 0
    return image


def number_of(image: np.ndarray) -> int:
    """The number shown, or -1 for a picture that stands on its head or lies on its side."""
    height, width, _ = image.shape
    if image[: height // 4].mean() > 40:
        return -1
    stripe = width // BITS
    return int((image[2 * height // 3, stripe // 2 :: stripe].mean(-1)[:BITS] > 127) @ (1 << np.arange(BITS)))


def film(
    path: Path,
    numbers: Sequence[int],
    *,
    fps: Fraction | int = 10,
    codec: str = "h264",
    times: Sequence[int] | None = None,
    clock: Fraction | None = None,
    size: tuple[int, int] = (32, 48),
    gop: int = 5,
    frames_between: int = 0,
) -> Path:
    """Write one. times: of each frame, in units of `clock` seconds, instead of at `fps`."""
    av = require_av("writing video")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = (
            {"g": str(gop), "bf": str(frames_between), "sc_threshold": "0"} if codec == "h264" else {"g": str(gop)}
        )
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        base = 1 / Fraction(fps) if clock is None else clock
        stream.codec_context.time_base = base
        for k, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(shown(number, *size), format="rgb24")
            frame.pts, frame.time_base = (k if times is None else times[k]), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(source: Path, target: Path, *, first_packet: int, first_shown: int, end: int, fps: int) -> Path:
    """A clip as tools cut it without encoding again: packets from a key frame on, an edit list hides the lead-in."""
    av = require_av("cutting video")
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        stream: Any = given.streams.video[0]
        out = container.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.dts is None or not first_packet <= round(float(packet.pts * packet.time_base) * fps) < end:
                continue
            shift = int(Fraction(first_shown, fps) / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, out
            container.mux(packet)
    return target


def turn(path: Path, quarters: int) -> Path:
    """Make players show the film turned clockwise by so many quarters: the matrix that phones write."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 40
    one = 1 << 16
    a, b, c, d = [(one, 0, 0, one), (0, one, -one, 0), (-one, 0, 0, -one), (0, -one, one, 0)][quarters % 4]
    assert struct.unpack(">5i", data[at : at + 20]) == (one, 0, 0, 0, one)
    data[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    path.write_bytes(data)
    return path
