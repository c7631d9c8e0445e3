"""The one image resize: area averaging in exact integer arithmetic, the same in training and in serving."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Literal, get_args

import numpy as np

from lara.errors import DataError

RESIZE_VERSION = "area-1"
Fit = Literal["square", "pad", "crop", "stretch"]


def resize_area(images: np.ndarray, size: int, *, fit: Fit = "square") -> np.ndarray:
    """(n, h, w, 3) uint8 -> (n, size, size, 3) uint8: each output pixel is the mean over the area that it covers.

    Rounds half up. Sums are whole numbers that the floating-point type holds exactly, so a frame gives the same bytes
    on every machine, alone or in a batch. fit says what becomes of images that are not square:

      square    they are refused
      pad       centred on a black square: all of the picture, right proportions, black borders
      crop      the largest square in their centre: right proportions, the long side loses its ends
      stretch   height and width by factors of their own: all of the picture, wrong proportions

    Raises DataError for another shape or dtype.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
        raise DataError(f"resize_area expects (n, h, w, 3) uint8, got {images.shape} {images.dtype}")
    if size < 1:
        raise DataError(f"resize_area expects a size of at least 1 pixel, got {size}")
    if fit not in get_args(Fit):
        raise DataError(f"resize_area knows the fits {', '.join(get_args(Fit))}; got '{fit}'")
    if images.shape[1] != images.shape[2]:
        images = _squared(images, fit)
    if images.shape[1:3] == (size, size):
        return images.copy()
    rows, columns = _Pass.of(images.shape[1], size), _Pass.of(images.shape[2], size)
    area = rows.part_in * columns.part_in  # the weights' sum
    out = np.empty((len(images), size, size, 3), np.uint8)
    for k, image in enumerate(images):  # one at a time keeps the float copies in the processor's cache
        out[k] = _resized(image, rows, columns, size, area)
    return out


def _squared(images: np.ndarray, fit: Fit) -> np.ndarray:
    n, height, width, _ = images.shape
    if fit == "square":
        raise DataError(
            f"images are {height} x {width}, not square; ask for fit 'pad' (black borders), 'crop' (the square in the "
            "centre) or 'stretch' (other proportions), or record square images"
        )
    if fit == "stretch":
        return images
    side = min(height, width) if fit == "crop" else max(height, width)
    top, left = abs(side - height) // 2, abs(side - width) // 2
    if fit == "crop":
        return images[:, top : top + side, left : left + side]
    square = np.zeros((n, side, side, 3), np.uint8)
    square[:, top : top + height, left : left + width] = images
    return square


class _Pass:
    """One direction. `source` pixels become `target`; both are `blocks` times the same small step, so that the sums are
    products with one small matrix: (part_out, part_in), rows summing to part_in."""

    def __init__(self, source: int, target: int) -> None:
        self.blocks = gcd(source, target)
        self.part_in, self.part_out = source // self.blocks, target // self.blocks
        begin_out = np.arange(self.part_out)[:, None] * self.part_in
        begin_in = np.arange(self.part_in)[None, :] * self.part_out
        overlap = np.minimum(begin_out + self.part_in, begin_in + self.part_out) - np.maximum(begin_out, begin_in)
        weights = np.maximum(overlap, 0)  # of output i (length part_in) with input j (length part_out)
        self.weights = weights.astype(np.float32)
        # across a row its three colours lie side by side; three times the products, which is worth it in small blocks
        small = self.part_in <= 160
        self.across = np.kron(weights, np.eye(3, dtype=np.int64)).T.astype(np.float32, order="C") if small else None

    @staticmethod
    @lru_cache(maxsize=32)
    def of(source: int, target: int) -> _Pass:
        """The pass, made once."""
        return _Pass(source, target)


def _resized(image: np.ndarray, rows: _Pass, columns: _Pass, size: int, area: int) -> np.ndarray:
    # sums after one pass are at most 255 * part_in, after both 255 * area; float32 holds whole numbers to 2 ** 24
    exact = np.float32 if 255 * area < 2**24 else np.float64
    width = image.shape[1]
    down = rows.weights @ image.reshape(rows.blocks, rows.part_in, width * 3).astype(np.float32)
    if columns.across is not None:
        blocks = down.reshape(size * columns.blocks, columns.part_in * 3).astype(exact, copy=False)
        sums = (blocks @ columns.across.astype(exact, copy=False)).reshape(size, size, 3)
    else:
        upright = down.reshape(size, width, 3).transpose(1, 0, 2)
        blocks = upright.reshape(columns.blocks, columns.part_in, size * 3).astype(exact, copy=False)
        sums = (columns.weights.astype(exact, copy=False) @ blocks).reshape(size, size, 3).transpose(1, 0, 2)
    # rounding half up; a quotient of such numbers cannot round up to a whole one that it does not reach
    if exact is np.float32:
        sums += area // 2
        sums /= area
    else:
        sums = (sums.astype(np.int64) + area // 2) // area
    rounded: np.ndarray = sums.astype(np.uint8)
    return rounded
