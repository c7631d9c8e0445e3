"""Random shift: the one augmentation that needs no knowledge of the scene. A pure function of (seed, step, index)."""

from __future__ import annotations

import numpy as np

from lara.data.order import random_words


def random_shifts(*, seed: int, step: int, index: np.ndarray, pixels: int) -> np.ndarray:
    """(B,) sample indices -> (B, 2) int64 shifts (down, right), uniform in [-pixels, pixels]."""
    words = [random_words(seed=seed, step=step, index=index, stream=stream) for stream in (1, 2)]
    return np.stack([(word % np.uint64(2 * pixels + 1)).astype(np.int64) - pixels for word in words], axis=1)


def shift(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Move (B, ..., size, size, C) images by (B, 2) pixels (down, right); the border repeats what it last showed."""
    size = images.shape[-2]
    lines = np.arange(size)
    out = np.empty_like(images)
    for i, (down, right) in enumerate(shifts):
        rows, columns = np.clip(lines - down, 0, size - 1), np.clip(lines - right, 0, size - 1)
        out[i] = images[i][..., rows, :, :][..., columns, :]
    return out
