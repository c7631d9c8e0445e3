"""Metrics between two log lines: kept on the device, moved to the host in one transfer, summed in order of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One step as it left the device. values: this rank's own; index: the samples of each micro-batch."""

    step: int
    bad: bool
    values: dict[str, float]
    index: list[list[int]]


class MetricWindow:
    """Means over the steps since the last log line, non-finite steps left out.

    Sums are Python floats added step by step, so that it makes no difference when, or how often, `drain` is called:
    a resumed run writes the same log. `sums` (name -> [sum, count]) is what a checkpoint keeps.
    """

    def __init__(self, sums: Mapping[str, Any] | None = None) -> None:
        self.sums: dict[str, list[Any]] = {name: [float(s), int(n)] for name, (s, n) in (sums or {}).items()}
        self._pending: list[tuple[int, tuple[str, ...], Tensor, list[Tensor]]] = []

    def add(self, step: int, scalars: Mapping[str, Tensor], bad: Tensor, index: list[Tensor]) -> None:
        """scalars: name -> () on the device. bad: () float, 1 when no update was made. No host sync."""
        names = tuple(scalars)
        values = torch.stack([bad.float(), *(scalars[name].detach().float().reshape(()) for name in names)])
        self._pending.append((step, names, values, index))

    def drain(self, average: Callable[[Tensor], Tensor]) -> list[Row]:
        """Moves what is pending to the host. average: over all ranks (every rank must have the same names pending)."""
        if not self._pending:
            return []
        own = torch.cat([values for _, _, values, _ in self._pending])
        both = torch.stack([own, average(own.clone())]).tolist()  # the one transfer
        rows, start = [], 0
        for step, names, _, index in self._pending:
            local, mean = (row[start : start + 1 + len(names)] for row in both)
            start += 1 + len(names)
            bad = mean[0] > 0
            if not bad:
                for name, value in zip(names, mean[1:], strict=True):
                    entry = self.sums.setdefault(name, [0.0, 0])
                    entry[0] += value
                    entry[1] += 1
            rows.append(Row(step, bad, dict(zip(names, local[1:], strict=True)), [i.tolist() for i in index]))
        self._pending = []
        return rows

    def means(self) -> dict[str, float]:
        """The means, and a fresh window. Call `drain` first."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means
