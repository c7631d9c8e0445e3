"""Numbers in robot units <-> numbers a network likes: statistics, and pairs of affine maps that undo each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch

from lara.errors import DataError, nearest

Mode = Literal["mean_std", "min_max", "quantile", "identity"]
Array = TypeVar("Array", np.ndarray, torch.Tensor)

CLIP = 5.0  # the quantile mode's bound: half-widths of [q01, q99] from its centre
REST = 100.0  # [min, max] is this many times as wide as [q01, q99]: so a dimension rests and sometimes moves

_FIELDS = ("min", "max", "mean", "std", "q01", "q99")


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Per-dimension statistics of `count` vectors of D numbers, in robot units. std is the population one (1/n)."""

    min: tuple[float, ...]
    max: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]
    count: int

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in _FIELDS}
        if len(set(lengths.values())) != 1:
            raise DataError(f"statistics need one number per dimension in every row, got lengths {lengths}")
        for name in _FIELDS:
            if not np.isfinite(getattr(self, name)).all():
                raise DataError(f"statistics must be finite, got {name} = {getattr(self, name)}")

    @property
    def dim(self) -> int:
        return len(self.min)

    @classmethod
    def of(cls, vectors: np.ndarray) -> Statistics:
        """Of (n, D) numbers, n >= 1, exact (no histogram); quantiles interpolate linearly. Raises DataError."""
        if vectors.ndim != 2 or len(vectors) == 0:
            raise DataError(f"statistics need (n, D) vectors with n of at least 1, got {vectors.shape}")
        x = vectors.astype(np.float64)
        if not np.isfinite(x).all():
            raise DataError("statistics need finite vectors; validate the dataset first")
        quantiles = np.quantile(x, [0.01, 0.99], axis=0)
        rows = (x.min(0), x.max(0), x.mean(0), x.std(0), quantiles[0], quantiles[1])
        return cls(**{f: tuple(row.tolist()) for f, row in zip(_FIELDS, rows, strict=True)}, count=len(x))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; inverse of `from_dict`."""
        return {**{name: list(getattr(self, name)) for name in _FIELDS}, "count": self.count}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Statistics:
        """Raises DataError when keys are missing or unknown."""
        if set(data) != {*_FIELDS, "count"}:
            raise DataError(f"statistics expect the keys {sorted((*_FIELDS, 'count'))}, got {sorted(data)}")
        return cls(**{name: tuple(float(v) for v in data[name]) for name in _FIELDS}, count=int(data["count"]))


class Normalizer:
    """y = (x - offset) / scale on the last axis, and its inverse; numpy and torch, any leading axes.

    mean_std: zero mean, unit std. min_max: [min, max] -> [-1, 1]. quantile: [q01, q99] -> [-1, 1]. identity: no change.
    A dimension whose range is almost nothing is only shifted (scale 1), so that noise in the last digits is never
    blown up.

    The quantile mode is bounded, |y| <= `CLIP`, because a value far outside [q01, q99] would outweigh a whole batch:

    - A dimension that rests takes [min, max] instead: its [q01, q99] is less than 1/`REST` of [min, max], as of a
      gripper that is open 99 % of the time, or of a joint that trembles by 1e-4 rad and rarely moves by 3.
    - What lies farther out than CLIP is normalised as if it stood at CLIP. So `unnormalize` inverts `normalize` exactly
      up to that distance, twice the width of [q01, q99] beyond either end. The other modes stay exact everywhere.

    `data.actions.remarks` says in words where either happens.

    kept: (D,) True for dimensions that are left as they are in every mode.
    """

    def __init__(self, statistics: Statistics, mode: Mode, *, kept: np.ndarray | None = None) -> None:
        if mode not in get_args(Mode):
            raise DataError(f"unknown normaliser mode '{mode}'. {nearest(mode, get_args(Mode))}")
        self.mode: Mode = mode
        self.dim = statistics.dim
        low, high, mean, std, q01, q99 = (np.asarray(getattr(statistics, f), np.float64) for f in _FIELDS)
        offset, scale = np.zeros(self.dim), np.ones(self.dim)
        if mode == "mean_std":
            offset, scale = mean, std
        elif mode == "min_max":
            offset, scale = (low + high) / 2, (high - low) / 2
        elif mode == "quantile":
            still = resting(statistics)
            low, high = np.where(still, low, q01), np.where(still, high, q99)
            offset, scale = (low + high) / 2, (high - low) / 2
        if mode != "identity":
            scale = np.where(_almost_nothing(scale, offset, offset), 1.0, scale)
        limit = np.full(self.dim, CLIP if mode == "quantile" else np.inf)
        if kept is not None:
            offset, scale = np.where(kept, 0.0, offset), np.where(kept, 1.0, scale)
            limit = np.where(kept, np.inf, limit)
        self.offset: np.ndarray = offset
        self.scale: np.ndarray = scale
        self.limit: np.ndarray = limit

    def normalize(self, x: Array) -> Array:
        """(..., D) robot units -> (..., D) normalised, same dtype and device. Raises DataError for another D."""
        offset, scale, limit = self._like(x)
        y: Array = (x - offset) / scale
        clipped: Array = y if self.mode != "quantile" else y.clip(-limit, limit)
        return clipped

    def unnormalize(self, y: Array) -> Array:
        """(..., D) normalised -> (..., D) robot units; inverse of `normalize` up to the clip."""
        offset, scale, _ = self._like(y)
        x: Array = y * scale + offset
        return x

    def _like(self, x: Array) -> tuple[Array, Array, Array]:
        if x.shape[-1] != self.dim:
            raise DataError(f"normaliser knows {self.dim} dimensions, got an array whose last axis is {x.shape[-1]}")
        return _as(x, self.offset), _as(x, self.scale), _as(x, self.limit)


class RelativeNormalizer:
    """Absolute action chunks <-> chunks relative to the state at their start, normalised step by step; an exact pair.

        y[h, d] = (a[h, d] - relative[d] * s[d] - offset[h, d]) / scale[h, d]

    The farther a step, the larger its distance from the start: with one scale for all, the first steps of a relative
    chunk would be nearly 0. So each of H steps has statistics of its own (GR00T N1.6 and N1.7, relative_stats). A dim
    that stays absolute (a gripper) has the same statistics at every step. The difference is per number: right for
    joints and positions; a rotation's has to be taken before, see data.actions.rotations. The quantile mode is bounded
    as that of `Normalizer`.

    statistics: of H * A numbers, steps outermost, as `fit` makes them. relative: one bool per action dim.
    """

    def __init__(self, statistics: Statistics, mode: Mode, *, relative: tuple[bool, ...]) -> None:
        if not relative or statistics.dim % len(relative):
            raise DataError(
                f"statistics of a relative chunk have steps * {len(relative)} numbers, got {statistics.dim}; make them "
                "with RelativeNormalizer.fit"
            )
        flat = Normalizer(statistics, mode)
        self.mode: Mode = mode
        self.relative = np.asarray(relative, bool)
        self.offset: np.ndarray = flat.offset.reshape(-1, len(relative))
        self.scale: np.ndarray = flat.scale.reshape(-1, len(relative))

    @staticmethod
    def fit(
        actions: np.ndarray, states: np.ndarray, *, relative: tuple[bool, ...], real: np.ndarray | None = None
    ) -> Statistics:
        """Of (n, H, A) absolute actions, and (n, A) states in the same units and order of dims.

        real: (n, H), True where a step exists (chunks at an episode's end are shorter). Raises DataError for other
        shapes, or a step that no chunk has.
        """
        n, steps, dims = actions.shape
        real = np.ones((n, steps), bool) if real is None else real
        if states.shape != (n, dims) or real.shape != (n, steps) or len(relative) != dims:
            raise DataError(
                f"chunks {actions.shape} need states {(n, dims)}, real {(n, steps)} and {dims} relative flags; got "
                f"{states.shape}, {real.shape} and {len(relative)}"
            )
        if not real.any(axis=0).all():
            raise DataError(
                f"no chunk has a real step {int(np.argmin(real.any(axis=0)))} of {steps}; shorten the horizon"
            )
        moved = np.asarray(relative, bool)
        difference = actions - states[:, None] * moved
        pooled = Statistics.of(difference[real])
        single = [Statistics.of(difference[real[:, h], h]) for h in range(steps)]

        def row(name: str) -> tuple[float, ...]:
            return tuple(getattr(s if moved[d] else pooled, name)[d] for s in single for d in range(dims))

        return Statistics(**{name: row(name) for name in _FIELDS}, count=min(s.count for s in single))

    def normalize(self, actions: Array, state: Array) -> Array:
        """(..., h, A) absolute actions, h <= H, and the (..., A) state at their start -> (..., h, A) normalised."""
        offset, scale, reference = self._like(actions, state)
        y: Array = (actions - reference - offset) / scale
        clipped: Array = y if self.mode != "quantile" else y.clip(-CLIP, CLIP)
        return clipped

    def unnormalize(self, y: Array, state: Array) -> Array:
        """(..., h, A) normalised -> (..., h, A) absolute actions; `normalize` undone, given the same state."""
        offset, scale, reference = self._like(y, state)
        actions: Array = y * scale + offset + reference
        return actions

    def _like(self, x: Array, state: Array) -> tuple[Array, Array, Array]:
        steps, dims = x.shape[-2:]
        if dims != len(self.relative) or state.shape[-1] != dims or not 1 <= steps <= len(self.offset):
            raise DataError(
                f"expected chunks of 1..{len(self.offset)} steps and states of {len(self.relative)} dims, got "
                f"{tuple(x.shape)} and {tuple(state.shape)}"
            )
        offset, scale, relative = self.offset[:steps], self.scale[:steps], self.relative
        if isinstance(x, torch.Tensor) and isinstance(state, torch.Tensor):
            pair = [torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in (offset, scale, relative)]
            return pair[0], pair[1], (state.to(x.dtype) * pair[2])[..., None, :]
        reference = (np.asarray(state) * relative).astype(x.dtype)[..., None, :]
        return offset.astype(x.dtype), scale.astype(x.dtype), reference


def resting(statistics: Statistics) -> np.ndarray:
    """(D,) True where 98 % of the values lie within 1/`REST` of the whole range, or within rounding of each other.

    A single outlier looks the same from here; heavy tails do not (those of robots' recorded motions are 2 to 20 times
    as wide as [q01, q99]).
    """
    low, high, q01, q99 = (np.asarray(getattr(statistics, f), np.float64) for f in ("min", "max", "q01", "q99"))
    at_rest: np.ndarray = (REST * (q99 - q01) < high - low) | _almost_nothing((q99 - q01) / 2, q01, q99)
    return at_rest


def _as(x: Array, numbers: np.ndarray) -> Array:
    """numbers in the type of x, where x is."""
    if isinstance(x, torch.Tensor):
        return torch.as_tensor(numbers, dtype=x.dtype, device=x.device)
    return numbers.astype(x.dtype)


def _almost_nothing(scale: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    # float32 data has about 7 digits: a spread below a millionth of the values' size is rounding, not movement.
    tiny: np.ndarray = scale <= 1e-6 * np.maximum(1e-3, np.maximum(np.abs(low), np.abs(high)))
    return tiny
