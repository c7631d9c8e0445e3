"""Statistics in lerobot's form: per episode (columns `stats/...`) and for the dataset (meta/stats.json)."""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def vector_stats(values: np.ndarray) -> dict[str, list[Any]]:
    """(n, D) numbers -> min, max, mean, std, count and five quantiles, each a list of D (count: one number)."""
    x = values.astype(np.float64)
    stats = {"min": x.min(0), "max": x.max(0), "mean": x.mean(0), "std": x.std(0), "count": np.array([len(x)])}
    stats.update(zip(QUANTILES, np.quantile(x, list(QUANTILES.values()), axis=0), strict=True))
    return {key: value.tolist() for key, value in stats.items()}


def pixel_histogram(images: np.ndarray) -> np.ndarray:
    """(T, h, w, 3) uint8 -> (3, 256) int64 counts of every value, from which all statistics follow exactly."""
    counts = np.zeros((3, 256), np.int64)
    for image in images:  # one at a time: bincount widens its input eightfold
        for channel in range(3):
            counts[channel] += np.bincount(image[..., channel].ravel(), minlength=256)
    return counts


def image_stats(histogram: np.ndarray, frames: int) -> dict[str, list[Any]]:
    """(3, 256) counts -> statistics of pixels in [0, 1], each of shape (3, 1, 1); count is the number of frames."""
    levels = np.arange(256) / 255.0
    total = histogram.sum(1)
    mean = histogram @ levels / total
    cumulative = histogram.cumsum(1)
    stats = {
        "min": levels[(histogram > 0).argmax(1)],
        "max": levels[255 - (histogram[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(histogram @ levels**2 / total - mean**2, 0.0)),
    }
    for name, q in QUANTILES.items():
        stats[name] = levels[(cumulative >= np.ceil(q * total)[:, None]).argmax(1)]
    return {**{key: value.reshape(3, 1, 1).tolist() for key, value in stats.items()}, "count": [frames]}


def index_stats(columns: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """lerobot also keeps statistics of its bookkeeping columns, (n,) each."""
    return {name: vector_stats(column[:, None]) for name, column in columns.items()}
