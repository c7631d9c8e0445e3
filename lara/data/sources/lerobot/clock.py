"""Which frame of its stretch of video each row of an episode is: lerobot's rule, the picture at begin + timestamp."""

from __future__ import annotations

import numpy as np

from lara.errors import DataError

STEADY = 0.25  # of a period: closer to k / fps than this, a clock is not worth a word
_ON_GRID = 0.05  # of a period: float32 seconds are this exact for days


def regular(ticks: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """(n,) times in periods and (n,) frame numbers -> (n,) bool: the nearest frame to the time is that of the row."""
    with np.errstate(invalid="ignore"):
        near: np.ndarray = np.abs(ticks - frame) < 0.5
        return near


def offsets(ticks: np.ndarray, *, span: int | None) -> np.ndarray | None:
    """Which frames of an episode's video, counted from its beginning, its rows show.

    lerobot shows at row k the picture at `begin + timestamp[k]`. Times on the video's grid are therefore believed: rows
    that were cut from a table leave their frames in the video, and the rest keep their old times. Times beside the grid
    are a hardware's clock: they say which frame only if the nearest frames follow one another, or if the video has
    exactly one frame per row.

    Args:
        ticks: (T,) the column `timestamp` in frame periods.
        span: frames that the video has for the episode; None where nothing says.

    Returns:
        (T,) int64; None for 0, 1, 2, ...

    Raises:
        DataError: when the times leave open which frame is meant. It begins with "frame k:".
    """
    frame = np.arange(len(ticks))
    if regular(ticks, frame).all():
        return None
    steps = np.diff(ticks)
    wrong = np.flatnonzero(~np.isfinite(ticks))
    if not len(wrong):
        wrong = np.flatnonzero(~(steps > _ON_GRID)) + 1
    if len(wrong):
        k = int(wrong[0])
        raise DataError(f"frame {k}: timestamps should rise by one period (1 / fps) per frame; {_around(ticks, k)}")
    nearest = np.round(ticks).astype(np.int64)
    on_grid = bool(np.abs(ticks - nearest).max() < _ON_GRID)
    if on_grid or (np.diff(nearest) == 1).all():
        if nearest[0] < 0 or (span is not None and nearest[-1] >= span):
            k = 0 if nearest[0] < 0 else int(np.flatnonzero(nearest >= (span or 0))[0])
            raise DataError(
                f"frame {k}: its timestamp leads to frame {nearest[k]} of the episode's stretch of video, which has "
                f"{span}; timestamps and episode table disagree, so nothing says which picture belongs to the row"
            )
        return nearest
    if span == len(ticks):
        return None  # a clock that drifts, beside a video of one frame per row
    k = int(np.flatnonzero(np.diff(nearest) != 1)[0]) + 1
    raise DataError(
        f"frame {k}: timestamps should rise by one period (1 / fps) per frame or stand on the video's grid; "
        f"{_around(ticks, k)}, and the video has {'an unknown number of' if span is None else span} frames for "
        f"{len(ticks)} rows, so nothing says which picture belongs to the row"
    )


def _around(ticks: np.ndarray, k: int) -> str:
    before = f"from {ticks[k - 1]:.3f} " if k else ""
    return f"{before}to {ticks[k]:.3f} periods"
