"""The one rate of many videos, whatever their containers made of it; and frames at another rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lara.data.frames.index import VideoIndex
from lara.errors import DataError

_OFF = 0.25  # a frame may be shown this share of a frame's time too early or too late


def common_rate(indexes: Mapping[Path, VideoIndex]) -> float:
    """The rate at which every frame of every file is shown when it should be.

    Containers that count in milliseconds show frames up to half of one too early or too late, and state rates a little
    off; 29.97 and 30000/1001 are meant to be one. So the times decide, and the stated rates only name candidates.
    Raises DataError when the rates differ or one varies, naming the files.
    """
    for rate in _candidates(list(indexes.values())):
        if all(_off(index, rate) is None for index in indexes.values()):
            return rate
    by_rate: dict[float, list[Path]] = defaultdict(list)
    for path, index in indexes.items():
        own = next((rate for rate in _candidates([index]) if _off(index, rate) is None), None)
        if own is None:
            raise _varies(path, index)
        by_rate[own].append(path)
    rates = "; ".join(f"{rate:.5g} fps: {len(p)} files such as {p[0].name}" for rate, p in sorted(by_rate.items()))
    raise DataError(
        f"{next(iter(indexes)).parent}: the videos have different rates ({rates}); make them different folders, or "
        "resample all to one, such as data.format.fps=10"
    )


def instants(index: VideoIndex, rate: float) -> np.ndarray:
    """(n,) int64: for each instant k / rate after the first frame, the number of the frame shown nearest to it."""
    times = (index.pts - index.pts[0]) * index.tick
    wanted = np.arange(int(times[-1] * rate + 1e-6) + 1) / rate
    right = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(wanted - times[left] <= times[right] - wanted, left, right)


def _candidates(indexes: list[VideoIndex]) -> Iterator[float]:
    """What all state; then what the times say, as the round rate or the NTSC one that it can only be, and as it is."""
    stated = {index.rate for index in indexes if index.rate}
    if len(stated) == 1:
        yield from stated
    spans = sum(float(index.pts[-1] - index.pts[0]) * index.tick for index in indexes)
    if spans <= 0:  # single frames: any rate is right
        yield from sorted(stated)
        return
    measured = sum(len(index.pts) - 1 for index in indexes) / spans
    within = sum(index.tick for index in indexes) / spans + 2e-4
    round_rates = [round(measured), round(measured * 1.001) * 1000 / 1001]
    for rate in sorted(round_rates, key=lambda r: abs(r - measured)):
        if rate > 0 and abs(rate - measured) <= within * measured:
            yield float(rate)
    yield measured


def _off(index: VideoIndex, rate: float) -> int | None:
    """The first frame that is shown at another time than the rate says."""
    times = (index.pts - index.pts[0]) * index.tick
    off = np.abs(times - np.arange(len(times)) / rate) > _OFF / rate
    return int(np.argmax(off)) if off.any() else None


def _varies(path: Path, index: VideoIndex) -> DataError:
    rate = next(_candidates([index]))
    frame = _off(index, rate) or 0
    time = float(index.pts[frame] - index.pts[0]) * index.tick
    return DataError(
        f"{path}: frame {frame} is shown at {time:.4f} s, at a constant {rate:g} fps it would be at "
        f"{frame / rate:.4f} s: its rate varies. Resample the folder to one rate (data.format.fps={rate:.0f}), or "
        f"encode the file again (ffmpeg -i IN -vf fps={rate:.0f} OUT)"
    )
