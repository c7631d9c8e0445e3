"""Where a robot's numbers stand in the padded vectors of a network, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Placement:
    """n robot numbers <-> k converted numbers <-> k places of a wider vector.

    source (k,): which robot number each one comes from. places (k,): where it stands. converted = robot * scale +
    offset. kept (k,): not to be normalised, because its unit is already the network's.
    """

    inputs: int
    source: np.ndarray
    places: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    kept: np.ndarray

    @classmethod
    def in_order(cls, count: int) -> Placement:
        """The same numbers at the first places."""
        own = np.arange(count)
        return cls(count, own, own, np.ones(count), np.zeros(count), np.zeros(count, bool))

    @property
    def count(self) -> int:
        return len(self.source)

    @property
    def width(self) -> int:
        """The shortest vector that has all places."""
        return int(self.places.max()) + 1 if self.count else 0

    def convert(self, robot: np.ndarray) -> np.ndarray:
        """(..., n) robot units -> (..., k), same dtype."""
        placed: np.ndarray = (robot[..., self.source] * self.scale + self.offset).astype(robot.dtype)
        return placed

    def invert(self, converted: np.ndarray) -> np.ndarray:
        """(..., k) -> (..., n) robot units; numbers that have no place are 0 (actions all have one)."""
        robot = np.zeros((*converted.shape[:-1], self.inputs), converted.dtype)
        robot[..., self.source] = (converted - self.offset) / self.scale
        return robot

    def spread(self, converted: np.ndarray, width: int) -> np.ndarray:
        """(..., k) -> (..., width), 0 where nothing stands."""
        out = np.zeros((*converted.shape[:-1], width), converted.dtype)
        out[..., self.places] = converted
        return out

    def gather(self, wide: np.ndarray) -> np.ndarray:
        """(..., width) -> (..., k); inverse of `spread`."""
        return wide[..., self.places]

    def dims(self, width: int) -> np.ndarray:
        """(width,) True where something stands."""
        out = np.zeros(width, bool)
        out[self.places] = True
        return out
