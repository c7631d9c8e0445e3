"""One training step: accumulate, guard, clip, update, follow. Nothing in it waits for the device.

It needs a system, a stage and an optimiser, and nothing of the loop; it can be tested, timed and compiled alone:

    applied = apply_stage(system, stage)
    step = TrainingStep(applied, build_optimizer(applied, optim), stage=stage, optim=optim)
    output = step(batches, 0)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.train.ema import EMA
from lara.train.nonfinite import NonFiniteGuard
from lara.train.optim import OptimConfig, clip, part_norms, schedule_length, set_lr, total_norm
from lara.train.stage import AppliedStage, Stage
from lara.types import Batch, Losses


@dataclass(frozen=True)
class StepOutput:
    """What a step leaves behind, still on the device.

    Attributes:
        scalars: "loss", every term and metric (means over the micro-batches), "grad_norm", and "grad_norm/<part>" where
            asked for; each () float32.
        bad: () float32; 1 when a loss or the gradient was not finite, so that no update was made.
        index: the samples of each micro-batch, (b,) integers each, on the CPU.
        weights: the factor of every term that was computed.
        lr: the learning rate of every parameter group.
    """

    scalars: dict[str, Tensor]
    bad: Tensor
    index: list[Tensor]
    weights: dict[str, float]
    lr: dict[str, float]


class TrainingStep:
    """One optimiser update of a system under a stage.

    Args:
        applied: the system with the stage's decisions applied.
        optimizer: made by `build_optimizer` for `applied`; its fused kernel skips updates on the device.
        stage, optim: the factors of the terms and the learning rates, by number of the step.
        model: what is called with (batch, names of terms) instead of the system: the system wrapped in DDP, compiled,
            or both. It must return what the system returns.
        ema: the moving average to move along, if there is one.
        accumulate: micro-batches per update.
        autocast: the context in which losses are computed; terms are weighed and added in float32 outside of it.
        world: number of processes that must agree on whether a step was finite.
    """

    def __init__(
        self,
        applied: AppliedStage,
        optimizer: torch.optim.Optimizer,
        *,
        stage: Stage,
        optim: OptimConfig,
        model: nn.Module | None = None,
        ema: EMA | None = None,
        accumulate: int = 1,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        world: int = 1,
    ) -> None:
        self.applied, self.optimizer, self.ema = applied, optimizer, ema
        self.stage, self.optim, self.accumulate = stage, optim, accumulate
        self.model = applied.system if model is None else model
        self.autocast = autocast
        self.device = next(iter(applied.learning.values())).device
        self.guard = NonFiniteGuard(applied, self.device, world)
        self.schedule_steps = schedule_length(optim, stage)

    def __call__(self, batches: Iterator[Batch], number: int, *, by_part: bool = False) -> StepOutput:
        """Takes `accumulate` batches and makes update `number` (0, 1, ...).

        Args:
            batches: micro-batches on any device.
            number: position in the schedules of learning rate, weights and moving average.
            by_part: also measure the gradient's norm of every part.

        Raises:
            ConfigError: the system returned other terms than it was asked for.
        """
        weights = self.stage.weights_at(number)
        lr = set_lr(self.optimizer, self.optim, number, self.schedule_steps)
        self.guard.remember()
        scalars, totals, index = self._accumulate(batches, weights)

        scalars["grad_norm"] = norm = total_norm(self.applied.learning, self.device)
        if by_part:
            scalars |= {f"grad_norm/{part}": value for part, value in part_norms(self.applied, self.device).items()}
        bad = self.guard.agree(totals, norm)
        if self.optim.clip_norm is not None:
            clip(self.applied.learning, norm, self.optim.clip_norm)
        self._update(bad, number)
        return StepOutput(scalars, bad, index, weights, lr)

    def _accumulate(
        self, batches: Iterator[Batch], weights: Mapping[str, float]
    ) -> tuple[dict[str, Tensor], list[Tensor], list[Tensor]]:
        """Adds up the gradients of the micro-batches; ranks exchange them with the last one's."""
        scalars: dict[str, Tensor] = {}
        totals, index = [], []
        asked = frozenset(weights)
        for micro in range(self.accumulate):
            batch = next(batches)
            index.append(batch.index_B)
            with self._exchange(last=micro == self.accumulate - 1):
                with self.autocast():
                    losses: Losses = self.model(batch.to(self.device), asked)
                total = weighted_sum(losses, weights)
                (total / self.accumulate).backward()
            totals.append(total)
            for name, value in {"loss": total, **losses.terms, **losses.metrics}.items():
                share = value.detach().float() / self.accumulate
                scalars[name] = scalars[name] + share if name in scalars else share
        return scalars, totals, index

    def _exchange(self, *, last: bool) -> AbstractContextManager[Any]:
        no_sync = getattr(self.model, "no_sync", None)
        return nullcontext() if last or no_sync is None else no_sync()

    def _update(self, bad: Tensor, number: int) -> None:
        """Parameters, buffers and average move, or, where `bad`, stay as they were to the last bit."""
        optimizer: Any = self.optimizer
        optimizer.found_inf = bad  # the fused kernel's own way to skip on the device
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.guard.undo(bad)
        system: Any = self.applied.system
        system.after_step()
        if self.ema is not None:
            self.ema.update(number, bad)


def weighted_sum(losses: Losses, weights: Mapping[str, float]) -> Tensor:
    """The one line of method: () float32, the terms times their factors, added in the order of `weights`.

    Raises:
        ConfigError: `losses` holds other terms than `weights` names.
    """
    if set(losses.terms) != set(weights):
        raise ConfigError(
            f"the system's losses were asked for {sorted(weights)} and returned {sorted(losses.terms)}; "
            "it must return exactly the terms asked for"
        )
    return reduce(operator.add, [weight * losses.terms[name].float() for name, weight in weights.items()])
