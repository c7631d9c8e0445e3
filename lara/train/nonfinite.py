"""No update on a non-finite loss or gradient: agreed by all ranks, decided on the device, reported at the next log.

How it works without waiting for the device. After backward the flag `bad` is 1 when this rank's loss or the global
gradient norm is not finite; one reduction (MAX) of that single number makes all ranks agree. The flag stays on the
device: the fused AdamW takes it as `found_inf` and leaves parameters, moments and step counts as they are; the EMA
multiplies its step by 1 - bad; buffers that forward changed (codebooks, running statistics) are put back. The host
learns of it when it reads the metrics anyway, and then writes the report and counts. `after_step()` is called all the
same: it sees the unchanged, healthy system. A skipped step still counts as a step of schedule and sampler.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from lara.errors import NonFiniteError
from lara.store.files import replace_file
from lara.store.records import to_json
from lara.train.stage import AppliedStage
from lara.train.window import Row

_log = logging.getLogger("lara.train")


class NonFiniteGuard:
    """The device's side: one flag, and the buffers of learning parts as they were before the step."""

    def __init__(self, applied: AppliedStage, device: torch.device, world: int) -> None:
        self.applied, self.device, self.world = applied, device, world
        self._before: dict[str, Tensor] = {}

    def remember(self) -> None:
        """Before forward."""
        self._before = {name: value.detach().clone() for name, value in self.applied.buffers().items()}

    def agree(self, losses: list[Tensor], norm: Tensor) -> Tensor:
        """() float32 on the device, the same on all ranks: 1 when a loss or the gradient norm is not finite."""
        numbers = torch.stack([*(loss.detach().float().reshape(()) for loss in losses), norm])
        bad = (~torch.isfinite(numbers).all()).float()
        if self.world > 1:
            torch.distributed.all_reduce(bad, op=torch.distributed.ReduceOp.MAX)
        return bad

    @torch.no_grad()
    def undo(self, bad: Tensor) -> None:
        """Puts the buffers back where `bad`; otherwise leaves them bit-unchanged."""
        now = self.applied.buffers()
        for name, before in self._before.items():
            now[name].copy_(torch.where(bad.bool(), before, now[name]))
        self._before = {}


class NonFiniteLedger:
    """The host's side: counts, reports, and the end after too many in a row."""

    def __init__(self, output: Path, *, rank: int, limit: int, total: int = 0, in_a_row: int = 0) -> None:
        self.folder = output / "nonfinite"
        self.rank, self.limit, self.total, self.in_a_row = rank, limit, total, in_a_row

    def record(self, rows: list[Row]) -> None:
        """Writes nonfinite/step-*-rank*.json for each bad step. Raises NonFiniteError after `limit` in a row."""
        for row in rows:
            if not row.bad:
                self.in_a_row = 0
                continue
            self.total += 1
            self.in_a_row += 1
            values = {name: repr(value) for name, value in row.values.items()}
            path = self.folder / f"step-{row.step:08d}-rank{self.rank}.json"
            self.folder.mkdir(parents=True, exist_ok=True)
            report = {"step": row.step, "rank": self.rank, "index_B": row.index, "values": values}
            replace_file(path, to_json(report))
            _log.warning("step %d: loss or gradient not finite, no update; samples in %s", row.step, path)
            if self.in_a_row >= self.limit:
                raise NonFiniteError(
                    f"{self.in_a_row} non-finite steps in a row, the last at step {row.step} (rank {self.rank}: "
                    f"{values}). "
                    f"The samples are listed in {self.folder}; the last checkpoint is sound. Look at those samples, "
                    "lower optim.lr, or use precision fp32."
                )
