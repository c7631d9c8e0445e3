"""resize_area is the area mean, exactly, and says the same alone and in a batch."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lara.data.frames.resize import resize_area
from lara.errors import DataError


def area_mean(image: np.ndarray, size: int) -> np.ndarray:
    """The definition, in fractions, pixel by pixel."""
    side = len(image)
    step = Fraction(side, size)
    weights = [
        [max(Fraction(0), min((i + 1) * step, j + 1) - max(i * step, Fraction(j))) for j in range(side)]
        for i in range(size)
    ]
    out = np.zeros((size, size, 3), np.uint8)
    for y in range(size):
        for x in range(size):
            for c in range(3):
                total = sum(
                    wy * wx * int(image[j, i, c])
                    for j, wy in enumerate(weights[y])
                    if wy
                    for i, wx in enumerate(weights[x])
                    if wx
                )
                out[y, x, c] = int(total / step**2 + Fraction(1, 2))
    return out


@settings(max_examples=25, deadline=None)
@given(side=st.integers(1, 9), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_equals_the_definition(side, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_area(image[None], size)[0], area_mean(image, size))


@pytest.mark.parametrize(("side", "size"), [(128, 64), (96, 64), (480, 224), (300, 64), (64, 96)])
def test_large_images_are_exact_alone_and_in_a_batch(side, size):
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    together = resize_area(images, size)
    for k in range(3):
        np.testing.assert_array_equal(resize_area(images[k : k + 1], size)[0], together[k])
    white = np.full((1, side, side, 3), 255, np.uint8)
    assert (resize_area(white, size) == 255).all()
    if side % size == 0:  # whole blocks: an independent formula
        f = side // size
        sums = images.reshape(3, size, f, size, f, 3).sum((2, 4), dtype=np.int64)
        np.testing.assert_array_equal(together, (2 * sums + f * f) // (2 * f * f))


def test_same_size_is_a_copy():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    out = resize_area(images, 8)
    np.testing.assert_array_equal(out, images)
    assert not np.shares_memory(out, images)


def test_pad_keeps_everything_and_square_refuses():
    images = np.full((1, 4, 8, 3), 200, np.uint8)
    with pytest.raises(DataError, match="4 x 8, not square"):
        resize_area(images, 4)
    out = resize_area(images, 8, fit="pad")[0, :, :, 0]
    assert out[[0, 1, 6, 7]].max() == 0
    assert out[2:6].min() == 200
    tall = resize_area(images.transpose(0, 2, 1, 3), 8, fit="pad")[0, :, :, 0]
    np.testing.assert_array_equal(tall, out.T)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 1), np.uint8)]
)
def test_other_arrays_are_refused(images):
    with pytest.raises(DataError):
        resize_area(images, 4)


def test_crop_takes_the_centre_and_stretch_takes_all():
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 12, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_area(images, 4, fit="crop"), resize_area(images[:, :, 3:9].copy(), 4))
    tall = images.transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(resize_area(tall, 4, fit="crop"), resize_area(images, 4, fit="crop").swapaxes(1, 2))
    # each output pixel is the mean of 2 rows x 4 columns
    sums = images.reshape(2, 3, 2, 3, 4, 3).sum((2, 4), dtype=np.int64)
    np.testing.assert_array_equal(resize_area(images, 3, fit="stretch"), (2 * sums + 8) // 16)
    for fit in ("square", "pad", "crop", "stretch"):  # and where nothing has to be done all are one
        np.testing.assert_array_equal(resize_area(images[:, :, :6], 3, fit=fit), resize_area(images[:, :, :6], 3))
    with pytest.raises(DataError, match="knows the fits"):
        resize_area(images, 4, fit="fill")


@pytest.mark.parametrize(("h", "w", "size"), [(7, 5, 3), (40, 333, 16), (333, 40, 16), (17, 400, 24), (48, 64, 64)])
def test_stretching_is_exact_in_both_directions(h, w, size):
    image = np.random.default_rng(1).integers(0, 256, (h, w, 3), dtype=np.uint8)
    # upsampled by whole numbers until both sides divide: the mean over blocks of the same area
    fine = image.repeat(size, 0).repeat(size, 1).reshape(size, h, size, w, 3).sum((1, 3), dtype=np.int64)
    area = h * w
    np.testing.assert_array_equal(resize_area(image[None], size, fit="stretch")[0], (2 * fine + area) // (2 * area))
