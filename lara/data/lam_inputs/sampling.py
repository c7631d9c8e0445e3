"""Which frames of a video the latent action model sees together, relative to the sample's own time t.

The same sample of the same step always gives the same frames: draws come from a counter-based generator keyed by
(seed, step, index), so they depend on neither workers nor restarts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from lara.data.order import random_words
from lara.errors import ConfigError


class FrameSampling(Protocol):
    """count: F. offsets(): (B, F) whole numbers, the first column 0, not falling; t + offset is a frame number."""

    @property
    def count(self) -> int: ...

    def offsets(self, index: np.ndarray, *, seed: int, step: int) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Pair:
    """t and t + gap (LARA 003: the gap is the action horizon)."""

    gap: int
    count: int = 2

    def __post_init__(self) -> None:
        if self.gap < 1:
            raise ConfigError(f"a pair's gap is at least 1 frame, got {self.gap}")

    def offsets(self, index: np.ndarray, *, seed: int, step: int) -> np.ndarray:
        return np.tile(np.array([0, self.gap]), (len(index), 1))


@dataclass(frozen=True, kw_only=True)
class Clip:
    """`count` frames at t, t + gap, ..., t + (count - 1) * gap; those past the episode's end are masked by the data.

    ALAM 004, section 3.3: H + 1 consecutive frames give the H latents of H actions, so count = H + 1,
    gap = 1; LatBot 002: 16 frames."""

    buildable: ClassVar[str] = "data"

    count: int
    gap: int = 1

    def __post_init__(self) -> None:
        if self.count < 2 or self.gap < 1:
            raise ConfigError(f"a clip has at least 2 frames at least 1 apart, got count={self.count}, gap={self.gap}")

    def offsets(self, index: np.ndarray, *, seed: int, step: int) -> np.ndarray:
        return np.tile(self.gap * np.arange(self.count), (len(index), 1))


@dataclass(frozen=True, kw_only=True)
class Between:
    """a < b < c at t, t + j, t + gap, j uniform in {1, ..., gap - 1}: a triplet whose ends are the pair that a policy
    is aligned with, for laws kept on in joint training (no paper's; gap = H)."""

    buildable: ClassVar[str] = "data"

    gap: int
    count: int = 3

    def __post_init__(self) -> None:
        if self.gap < 2:
            raise ConfigError(f"a frame between two needs them at least 2 apart, got gap={self.gap}")

    def offsets(self, index: np.ndarray, *, seed: int, step: int) -> np.ndarray:
        word = random_words(seed=seed, step=step, index=index, stream=3)
        between = 1 + (word % np.uint64(self.gap - 1)).astype(np.int64)
        return np.stack([np.zeros_like(between), between, np.full_like(between, self.gap)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Triplet:
    """a < b < c, the gaps b - a and c - b drawn uniformly from {low, ..., high} times `stride` frames, apart from each
    other unless `equal` (ALAM 004, appendix A.1: 1 to 16 at a frame skip of 5; RotVLA 001, Eq. 6: one fixed gap twice,
    low = high)."""

    buildable: ClassVar[str] = "data"

    low: int
    high: int
    stride: int = 1
    equal: bool = False
    count: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high:
            raise ConfigError(f"a triplet's gaps need 1 <= low <= high, got low={self.low}, high={self.high}")
        if self.stride < 1:
            raise ConfigError(f"a triplet's gaps are multiples of stride >= 1 frames, got stride={self.stride}")

    def offsets(self, index: np.ndarray, *, seed: int, step: int) -> np.ndarray:
        draws = [random_words(seed=seed, step=step, index=index, stream=stream) for stream in (3, 4)]
        width = np.uint64(self.high - self.low + 1)
        first = self.low + (draws[0] % width).astype(np.int64)
        second = first if self.equal else self.low + (draws[1] % width).astype(np.int64)
        return self.stride * np.stack([np.zeros_like(first), first, first + second], axis=1)
