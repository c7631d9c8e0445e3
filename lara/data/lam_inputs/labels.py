"""Label columns (see docs/systems/labels.md) beside the actions: latents that a policy generates, codes that it
predicts. Latents in place of the actions are `actions/latent.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lara.data.lam_inputs.label_columns import column, from_arrow, read_about, require_unchanged, require_whole_sidecar
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.lerobot.tables import read_parquet
from lara.data.sources.source import Source
from lara.errors import ConfigError, DataError


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
        """(N, T) int64 by frame number of `source`, -1 where a pair is not real. Raises DataError for labels of another
        dataset, ConfigError for another number of queries."""
        found = label_width(Path(self.root), self.prefix, "index")
        if found != self.queries:
            raise ConfigError(f"{self.root}: labels have {found} codes per frame; set data.lam.codes.queries={found}")
        (index,) = read_labels(Path(self.root), self.prefix, source, ("index",))
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
            gap, dim = int(about["settings"]["gap"]), label_width(root, self.prefix, "z")
            if (gap, dim) != (self.gap, self.dim):
                raise ConfigError(
                    f"{root}: its latents are of pairs {gap} frames apart and {dim} numbers long, data.lam.latents "
                    f"wants {self.gap} and {self.dim}; label with label.gap={self.gap}, or set data.lam.latents to "
                    "what is there"
                )
            found.append(read_labels(root, self.prefix, source, ("z", "mask")))
        z = np.stack([values.reshape(len(values), -1) for values, _ in found], axis=1)
        return z.astype(np.float32), np.logical_and.reduce([mask for _, mask in found])


def label_width(root: Path, prefix: str, kind: str) -> int:
    """Numbers per frame of one label column. Raises DataError where there are no such labels."""
    about = read_about(root, prefix)
    latent = about["lam"]
    if kind != "z" and latent["codes"] is None:
        raise DataError(f"{root}: {latent['space']} has no codes, so there is no column '{column(prefix, kind)}'")
    return int(latent["queries"]) * (1 if kind == "index" else int(latent["dim"]))


def read_labels(root: Path, prefix: str, source: Source, kinds: tuple[str, ...]) -> list[np.ndarray]:
    """Label columns by frame number of `source`. Raises DataError for labels of another dataset, or changed ones."""
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
