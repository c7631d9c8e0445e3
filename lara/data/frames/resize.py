"""The one image resize: area averaging in exact integer arithmetic, the same in training and in serving."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from lara.errors import DataError

RESIZE_VERSION = "area-1"
Fit = Literal["square", "pad"]


def resize_area(images: np.ndarray, size: int, *, fit: Fit = "square") -> np.ndarray:
    """(n, h, w, 3) uint8 -> (n, size, size, 3) uint8: each output pixel is the mean over the area that it covers.

    Rounds half up. Sums are whole numbers that the floating-point type holds exactly, so a frame gives the same bytes
    on every machine, alone or in a batch. fit="square" refuses images that are not square; fit="pad" first centres
    them on a black square. Nothing is ever cropped. Raises DataError for another shape or dtype.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise DataError(f"resize_area expects (n, h, w, 3) uint8, got {images.shape} {images.dtype}")
    if size < 1:
        raise DataError(f"resize_area expects a size of at least 1 pixel, got {size}")
    n, height, width, _ = images.shape
    if height != width:
        if fit == "square":
            raise DataError(
                f"images are {height} x {width}, not square; ask for fit='pad' (black borders) or record square images"
            )
        images = _centre_on_square(images)
        height = width = images.shape[1]
    if height == size:
        return images.copy()
    # Row sums of the integer weights equal `height`: one pass gives at most 255 * height, both 255 * height**2.
    exact = np.float32 if 255 * height * height < 2**24 else np.float64
    weights = _overlaps(height, size)
    out = np.empty((n, size, size, 3), np.uint8)
    half, area = height * height // 2, height * height
    first, second = weights.astype(np.float32), weights.astype(exact)
    for i in range(n):  # one image at a time keeps the float copies in the processor's cache
        rows = first @ images[i].reshape(height, width * 3).astype(np.float32)
        columns = rows.reshape(size, width, 3).transpose(1, 0, 2).reshape(width, size * 3).astype(exact)
        sums = (second @ columns).reshape(size, size, 3).transpose(1, 0, 2)
        out[i] = (sums.astype(np.int64) + half) // area
    return out


def _centre_on_square(images: np.ndarray) -> np.ndarray:
    n, height, width, _ = images.shape
    side = max(height, width)
    square = np.zeros((n, side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = images
    return square


@lru_cache(maxsize=32)
def _overlaps(source: int, target: int) -> np.ndarray:
    """(target, source) int64: overlap of output i (length `source`) with input j (length `target`)."""
    begin_out = np.arange(target)[:, None] * source
    begin_in = np.arange(source)[None, :] * target
    overlap = np.minimum(begin_out + source, begin_in + target) - np.maximum(begin_out, begin_in)
    return np.maximum(overlap, 0)
