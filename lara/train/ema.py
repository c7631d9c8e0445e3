"""A moving average of what learns: parameters and buffers, kept beside the system and swapped in to judge or export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lara.train.stage import AppliedStage


class EMA:
    """average <- average + (1 - d) (value - average), with d = min(decay, (1 + n) / (10 + n)) after n updates.

    Covers the learning parameters and the saved buffers of learning parts; buffers that are not floating point are
    copied. `tensors` holds the averages by name.
    """

    def __init__(self, applied: AppliedStage, decay: float) -> None:
        self.applied = applied
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in self._values().items()}

    def _values(self) -> dict[str, Tensor]:
        return {**self.applied.learning, **self.applied.buffers(persistent_only=True)}

    @torch.no_grad()
    def update(self, step: int, skip: Tensor) -> None:
        """After update number `step` (0, 1, ...). skip: () float, 1 leaves the averages bit-unchanged. No host sync."""
        decay = min(self.decay, (1 + step) / (10 + step))
        values = self._values()
        pairs = [(self.tensors[n], v.detach()) for n, v in values.items() if v.is_floating_point()]
        if pairs:
            averages, now = [a for a, _ in pairs], [v for _, v in pairs]
            moved = torch._foreach_sub(now, averages)
            torch._foreach_mul_(moved, 1.0 - decay)
            torch._foreach_mul_(moved, 1.0 - skip)
            torch._foreach_add_(averages, moved)
        for name, value in values.items():
            if not value.is_floating_point():
                self.tensors[name].copy_(torch.where(skip.bool(), self.tensors[name], value))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the system holds the averages; afterwards its own values again (pointers are exchanged)."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, value in self._values().items():
            value.data, self.tensors[name] = self.tensors[name], value.data
