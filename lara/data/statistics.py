"""Statistics in one pass over numbers that need not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lara.data.actions.normalize import Statistics
from lara.errors import DataError

BLOCKS = 16


class Running:
    """Minimum, maximum, mean, standard deviation and quantiles of D columns whose rows come bit by bit.

    All are exact as long as at most `budget` numbers came; they are kept. Beyond that, quantiles come from a sketch:
    rows are kept in blocks of k = budget / (16 * D), sorted column by column, and where there would be more than 16
    blocks, two of the same weight become one of twice the weight by keeping every second value of their union. Each
    such step moves the rank of a value by at most the old weight, so of N rows a quantile's rank is off by at most
    (N / 2k) * log2(N / k), which `rank_error` counts exactly as a share of N: 10^8 rows of 14 numbers with the default
    budget give 2e-5, so that "q01" lies between the quantiles 0.00998 and 0.01002. The other figures stay exact.

    dim: D. budget: numbers kept; 2^26 float32 are 256 MB.
    """

    def __init__(self, dim: int, *, budget: int = 1 << 26) -> None:
        self.dim = dim
        self.count = 0
        self._rows_per_block = max(budget // (BLOCKS * max(dim, 1)), 2)
        self._low, self._high = np.full(dim, np.inf), np.full(dim, -np.inf)
        self._mean, self._squares = np.zeros(dim), np.zeros(dim)
        self._fresh: list[np.ndarray] = []
        self._fresh_rows = 0
        self._blocks: list[tuple[int, np.ndarray]] = []  # (weight, (k, D) sorted), heaviest first
        self._moved = 0

    @property
    def rank_error(self) -> float:
        """By how much the rank of a quantile may be off, as a share of all rows; 0 where all were kept."""
        return self._moved / max(self.count, 1)

    def add(self, rows: np.ndarray) -> None:
        """(n, D) finite numbers. float32 is kept as such, anything else as float64. Raises DataError."""
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise DataError(f"expected rows of {self.dim} numbers, got {rows.shape}")
        if not len(rows):
            return
        x = rows.astype(np.float64)
        if not np.isfinite(x).all():
            raise DataError("statistics need finite numbers; validate the dataset first")
        mean, n = x.mean(0), len(x)
        total = self.count + n
        away = mean - self._mean
        self._squares += ((x - mean) ** 2).sum(0) + away**2 * (self.count * n / total)
        self._mean += away * (n / total)
        self._low, self._high = np.minimum(self._low, x.min(0)), np.maximum(self._high, x.max(0))
        self.count = total
        self._fresh.append(rows.copy() if rows.dtype == np.float32 else x)
        self._fresh_rows += n
        if self._fresh_rows >= self._rows_per_block:
            self._store()

    def statistics(self) -> Statistics:
        """Raises DataError when no row came."""
        figures = self.figures({"q01": 0.01, "q99": 0.99})
        return Statistics(**{k: tuple(v.tolist()) for k, v in figures.items()}, count=self.count)

    def figures(self, quantiles: dict[str, float]) -> dict[str, np.ndarray]:
        """{"min", "max", "mean", "std", and the named quantiles}, each (D,) float64. Raises DataError without rows."""
        if not self.count:
            raise DataError("statistics need at least one row, got none")
        basic = {"min": self._low, "max": self._high, "mean": self._mean, "std": np.sqrt(self._squares / self.count)}
        return basic | dict(zip(quantiles, self._quantiles(list(quantiles.values())), strict=True))

    def _quantiles(self, shares: Sequence[float]) -> np.ndarray:
        parts = [*self._blocks, *((1, rows) for rows in self._fresh)]
        out = np.empty((len(shares), self.dim))
        weights = np.concatenate([np.full(len(rows), weight) for weight, rows in parts])
        for d in range(self.dim):  # one column at a time: the rest stays as small as it came
            values = np.concatenate([rows[:, d] for _, rows in parts]).astype(np.float64)
            if not self._moved:
                out[:, d] = np.quantile(values, shares)
                continue
            order = np.argsort(values)
            upto = np.cumsum(weights[order])
            place = np.searchsorted(upto, np.asarray(shares) * (self.count - 1), side="right")
            out[:, d] = values[order[np.minimum(place, len(order) - 1)]]
        return out

    def _store(self) -> None:
        """Fresh rows -> blocks of exactly k rows; what is left over stays fresh."""
        rows, k = np.concatenate(self._fresh), self._rows_per_block
        whole = len(rows) // k * k
        for begin in range(0, whole, k):
            self._blocks.append((1, np.sort(rows[begin : begin + k], axis=0)))
            if len(self._blocks) > BLOCKS:
                self._join()
        self._fresh, self._fresh_rows = [rows[whole:].copy()], len(rows) - whole

    def _join(self) -> None:
        """Two blocks of the smallest weight that occurs twice become one."""
        weights = [weight for weight, _ in self._blocks]
        weight = min(w for w in weights if weights.count(w) > 1)
        pair = [rows for w, rows in self._blocks if w == weight][:2]
        kept = [block for block in self._blocks if all(block[1] is not rows for rows in pair)]
        merged = np.sort(np.concatenate(pair), axis=0)[self._moved // weight % 2 :: 2]  # odd and even in turn
        self._moved += weight
        self._blocks = [*kept, (2 * weight, merged)]
