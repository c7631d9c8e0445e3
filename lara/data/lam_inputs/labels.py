"""Label columns (see docs/systems/labels.md) as training data: latents as actions, as what is generated beside
actions, codes as tokens to predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lara.data.lam_inputs.label_columns import column, from_arrow, read_about, require_unchanged, require_whole_sidecar
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.lerobot.tables import read_parquet
from lara.data.sources.source import Source
from lara.errors import ConfigError, DataError
from lara.specs import ActionSpec, ObservationSpec

LATENT_COLUMNS = ("z", "code", "index")


@dataclass(frozen=True, kw_only=True)
class LatentActions:
    """Labels as the actions of a body that has none: of every frame, the latent of (t, t + gap).

    root: a sidecar, or a dataset labelled in place. column: "z", "code" or "index". prefix: of the columns.
    """

    buildable: ClassVar[str] = "data"

    root: Path | str
    column: str = "z"
    prefix: str = "latent"

    def __post_init__(self) -> None:
        if self.column not in LATENT_COLUMNS:
            raise ConfigError(f"a latent action is one of {', '.join(LATENT_COLUMNS)}, got {self.column!r}")

    def dim(self) -> int:
        """Numbers per frame. Raises DataError when there are no such labels."""
        return _width(Path(self.root), self.prefix, self.column)

    def card(self, source: Source) -> RobotCard:
        """A body whose actions are latents: no units, no limits but float32's."""
        dim, most = self.dim(), float(np.finfo(np.float32).max)
        state = source.robot.observation.state if source.robot else source.state_names
        return RobotCard(
            name="latent",
            action=ActionSpec(
                names=tuple(f"{column(self.prefix, self.column)}.{i}" for i in range(dim)),
                control="delta",
                rotation="none",
                gripper="none",
                low=(-most,) * dim,
                high=(most,) * dim,
                rate_hz=source.fps,
            ),
            observation=ObservationSpec(cameras=source.cameras, state=state),
        )

    def read(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """(N, dim) float32 and (N,) bool, where real, by frame number of `source`. Raises DataError for labels of
        another dataset."""
        values, mask = _read(Path(self.root), self.prefix, source, (self.column, "mask"))
        return values.reshape(len(values), -1).astype(np.float32), mask


@dataclass(frozen=True, kw_only=True)
class LatentCodes:
    """Labels as tokens beside the actions: the codes of (t, t + gap), (t + gap, t + 2 gap), ... in one row.

    steps: how many pairs. queries: Q of the LAM that made them; T = steps * Q tokens per sample.
    """

    buildable: ClassVar[str] = "data"

    root: Path | str
    queries: int
    steps: int = 1
    prefix: str = "latent"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.queries < 1:
            raise ConfigError(f"codes need steps and queries of at least 1, got {self.steps} and {self.queries}")

    @property
    def tokens(self) -> int:
        return self.steps * self.queries

    def read(self, source: Source) -> np.ndarray:
        """(N, T) int64 by frame number of `source`, -1 where a pair is not real. Raises DataError as `LatentActions`,
        ConfigError for another number of queries."""
        found = _width(Path(self.root), self.prefix, "index")
        if found != self.queries:
            raise ConfigError(f"{self.root}: labels have {found} codes per frame; set data.codes.queries={found}")
        (index,) = _read(Path(self.root), self.prefix, source, ("index",))
        index = index.reshape(len(index), -1)
        gap = int(read_about(Path(self.root), self.prefix)["settings"]["gap"])
        ends = np.repeat([r.start + r.length for r in source.episodes], [r.length for r in source.episodes])
        out = np.full((len(index), self.steps, self.queries), -1, np.int64)
        for k in range(self.steps):
            when = np.arange(len(index)) + k * gap
            inside = when < ends
            out[inside, k] = index[when[inside]]
        return out.reshape(len(index), -1)


@dataclass(frozen=True, kw_only=True)
class LatentSteps:
    """Labels as what a policy generates beside its actions (ALAM 004, Eq. 10): of every step t, t + 1, ... the latent
    of the `gap` frames after it. What the frozen LAM would say of the same frames at every batch, asked once.

    roots: one set of labels per camera, in the order of the policy's latent streams. steps: T, as many as there are
    latents in a chunk. dim: numbers per latent, Q * D. gap: in frames; labels of another are refused.
    """

    buildable: ClassVar[str] = "data"

    roots: tuple[str, ...]
    steps: int
    dim: int
    gap: int = 1
    prefix: str = "latent"

    def __post_init__(self) -> None:
        object.__setattr__(self, "roots", tuple(str(root) for root in self.roots))
        if not self.roots or min(self.steps, self.dim, self.gap) < 1:
            raise ConfigError(
                f"latents need at least one root and positive steps, dim and gap; got {self.roots}, {self.steps}, "
                f"{self.dim}, {self.gap}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, V, D) of one sample."""
        return self.steps, len(self.roots), self.dim

    def read(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """(N, V, D) float32 and (N,) bool, where real, by frame number of `source`. Raises DataError for labels of
        another dataset, ConfigError for labels of another gap or width."""
        found = []
        for root in map(Path, self.roots):
            about = read_about(root, self.prefix)
            gap, dim = int(about["settings"]["gap"]), _width(root, self.prefix, "z")
            if (gap, dim) != (self.gap, self.dim):
                raise ConfigError(
                    f"{root}: its latents are of pairs {gap} frames apart and {dim} numbers long, data.latents wants "
                    f"{self.gap} and {self.dim}; label with label.gap={self.gap}, or set data.latents to what is there"
                )
            found.append(_read(root, self.prefix, source, ("z", "mask")))
        z = np.stack([values.reshape(len(values), -1) for values, _ in found], axis=1)
        return z.astype(np.float32), np.logical_and.reduce([mask for _, mask in found])


def _width(root: Path, prefix: str, kind: str) -> int:
    about = read_about(root, prefix)
    latent = about["lam"]
    if kind != "z" and latent["codes"] is None:
        raise DataError(f"{root}: {latent['space']} has no codes, so there is no column '{column(prefix, kind)}'")
    return int(latent["queries"]) * (1 if kind == "index" else int(latent["dim"]))


def _read(root: Path, prefix: str, source: Source, kinds: tuple[str, ...]) -> list[np.ndarray]:
    about = read_about(root, prefix)
    require_whole_sidecar(root, about)
    labels = open_dataset(root)
    ours, theirs = ([row.length for row in s.episodes] for s in (source, labels))
    if ours != theirs:
        raise DataError(
            f"{root}: labels {len(theirs)} episodes of {sum(theirs)} frames, {source.root} has {len(ours)} of "
            f"{sum(ours)}; they belong to another dataset"
        )
    names = [column(prefix, kind) for kind in kinds]
    parts: list[list[np.ndarray]] = []
    for path, stretches in labels.stretches():
        table = read_parquet(path, names)
        require_unchanged(root, about, path, {name: table[name] for name in names})
        whole = [from_arrow(table[name]) for name in names]
        # a file may hold rows of episodes that were taken out of the dataset since
        parts += [[values[begin:end] for values in whole] for begin, end in stretches]
    return [np.concatenate(column_parts) for column_parts in zip(*parts, strict=True)]
