"""The whole state of a run: what a checkpoint must hold for the resumed run to equal the uninterrupted one.

Each kind of state is restored by its own function; the tests drop them one at a time and must notice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lara.errors import CheckpointError
from lara.store.checkpoint import Checkpoint
from lara.train.ema import EMA
from lara.train.rng import restore_rng, seed_everything
from lara.train.stage import Stage

_log = logging.getLogger("lara.train")


@dataclass
class Progress:
    """Where a run stands.

    step: updates attempted (a skipped non-finite one counts). position: micro-batches drawn from the loader.
    schedule_step: position in the schedules of learning rate, weights and EMA. samples: drawn so far, all ranks.
    window: sums of metrics since the last log line.
    """

    step: int = 0
    position: int = 0
    schedule_step: int = 0
    samples: int = 0
    nonfinite: int = 0
    nonfinite_in_a_row: int = 0
    window: dict[str, Any] = field(default_factory=dict)

    def advance(self, *, micro_batches: int, batch_size: int) -> None:
        """After a step of so many micro-batches, whose size counts the samples of all ranks."""
        self.step += 1
        self.schedule_step += 1
        self.position += micro_batches
        self.samples += micro_batches * batch_size

    def to_record(
        self, *, stage: Stage, schedule_steps: int, seed: int, world: int, data_length: int
    ) -> dict[str, Any]:
        """train.json."""
        return {
            "step": self.step,
            "stage": stage.name,
            "seed": seed,
            "world": world,
            "sampler": {"position": self.position, "data_length": data_length},
            "schedule": {"step": self.schedule_step, "total_steps": schedule_steps},
            "counters": {"samples": self.samples},
            "nonfinite": {"total": self.nonfinite, "in_a_row": self.nonfinite_in_a_row},
            # a mean over nothing may be NaN, which JSON has not; MetricWindow reads its name
            "window": {
                name: [total if math.isfinite(total) else repr(total), n] for name, (total, n) in self.window.items()
            },
        }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """ "exp_avg/<parameter name>" and so on."""
    return {
        f"{key}/{name}": value
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def optimizer_record(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """optimizer.json: the groups with their parameters' names, and which tensors belong to the state."""
    groups = [
        {"name": g["name"], "scale": g["scale"], "weight_decay": g["weight_decay"], "lr": g["lr"], "names": g["names"]}
        for g in optimizer.param_groups
    ]
    return {"kind": "AdamW", "groups": groups, "tensors": sorted(optimizer_tensors(optimizer))}


def copy_strictly(targets: Mapping[str, Tensor], values: Mapping[str, Tensor], what: str) -> None:
    """Copies values into targets of the same names, shapes and dtypes; CheckpointError otherwise, nothing changed."""
    missing, unknown = sorted(set(targets) - set(values)), sorted(set(values) - set(targets))
    other = [
        f"{n} ({values[n].dtype} {tuple(values[n].shape)} instead of {targets[n].dtype} {tuple(targets[n].shape)})"
        for n in sorted(set(targets) & set(values))
        if values[n].shape != targets[n].shape or values[n].dtype != targets[n].dtype
    ]
    if missing or unknown or other:
        raise CheckpointError(
            f"the checkpoint's {what} does not fit: {len(missing)} of {len(targets)} missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(other)} of another kind {other[:3]}. "
            "Resume with the configuration of the run, or start another stage with stage.load."
        )
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(values[name])


def restore_parameters(system: nn.Module, weights: Mapping[str, Tensor]) -> None:
    names = {name for name, _ in system.named_parameters(remove_duplicate=False)}
    own = {name: value for name, value in system.state_dict().items() if name in names}
    copy_strictly(own, {name: value for name, value in weights.items() if name in own}, "weights")


def restore_buffers(system: nn.Module, weights: Mapping[str, Tensor]) -> None:
    names = {name for name, _ in system.named_parameters(remove_duplicate=False)}
    own = {name: value for name, value in system.state_dict().items() if name not in names}
    copy_strictly(own, {name: value for name, value in weights.items() if name not in names}, "buffers")


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    parameters = {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    saved = {name for group in record["groups"] for name in group["names"]}
    if saved != set(parameters) or set(record["tensors"]) != set(tensors):
        raise CheckpointError(
            f"the optimiser's state does not fit: {len(set(parameters) - saved)} learning parameters without state "
            f"{sorted(set(parameters) - saved)[:3]}, {len(saved - set(parameters))} that do not learn "
            f"{sorted(saved - set(parameters))[:3]}. Resume with the stage of the run."
        )
    state: dict[Tensor, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        parameter = parameters[name]
        if kind != "step" and value.shape != parameter.shape:
            raise CheckpointError(f"{key} has the shape {tuple(value.shape)}, its parameter {tuple(parameter.shape)}")
        # cloned, because the file's memory may be mapped; on the parameter's device, as the fused kernel wants it
        state.setdefault(parameter, {})[kind] = value.clone().to(parameter.device)
    optimizer.state.clear()
    optimizer.state.update(state)


def restore_ema(ema: EMA, tensors: Mapping[str, Tensor]) -> None:
    copy_strictly(ema.tensors, tensors, "moving average")


def restore_schedule(progress: Progress, record: Mapping[str, Any]) -> None:
    progress.schedule_step = record["schedule"]["step"]


def restore_sampler(progress: Progress, record: Mapping[str, Any]) -> None:
    progress.position = record["sampler"]["position"]


def restore_counters(progress: Progress, record: Mapping[str, Any]) -> None:
    progress.step = record["step"]
    progress.samples = record["counters"]["samples"]
    progress.nonfinite = record["nonfinite"]["total"]
    progress.nonfinite_in_a_row = record["nonfinite"]["in_a_row"]
    progress.window = record["window"]


def restore_generators(
    states: Mapping[str, Tensor], *, device: torch.device, rank: int, world: int, seed: int, step: int
) -> None:
    """This rank's row of every generator's state. Another number of ranks gets fresh streams, loudly."""
    saved = len(states["torch"])
    if saved == world:
        restore_rng({name: rows[rank] for name, rows in states.items()}, device)
        return
    _log.warning(
        "resumed with %d ranks instead of %d: the order of samples goes on, but noise is drawn from new streams",
        world,
        saved,
    )
    seed_everything(seed, rank=rank, stream=step)


def run_tensors(
    system: nn.Module, optimizer: torch.optim.Optimizer, ema: EMA | None, generators: Mapping[str, Tensor]
) -> dict[str, Mapping[str, Tensor]]:
    """What a checkpoint keeps as tensors, by file name."""
    tensors: dict[str, Mapping[str, Tensor]] = {
        "system": system.state_dict(),
        "optimizer": optimizer_tensors(optimizer),
        "rng": generators,
    }
    return tensors if ema is None else {**tensors, "ema": ema.tensors}


def restore_tensors(
    checkpoint: Checkpoint, module: nn.Module, optimizer: torch.optim.Optimizer, ema: EMA | None
) -> None:
    """Weights, buffers, optimiser and EMA of a run, strictly; CheckpointError when one of them does not fit."""
    if checkpoint.has_ema != (ema is not None):
        raise CheckpointError(
            f"{checkpoint.path} was written {'with' if checkpoint.has_ema else 'without'} a moving average; "
            "resume with the same optim.ema_decay"
        )
    weights = checkpoint.tensors("system")
    restore_parameters(module, weights)
    restore_buffers(module, weights)
    restore_optimizer(optimizer, checkpoint.tensors("optimizer"), checkpoint.optimizer_groups)
    if ema is not None:
        restore_ema(ema, checkpoint.tensors("ema"))


def restore_progress(checkpoint: Checkpoint, *, data_length: int) -> Progress:
    """Step, sampler, schedule and counters. Raises CheckpointError when the data has another length than it had."""
    record = checkpoint.train
    if record["sampler"]["data_length"] != data_length:
        raise CheckpointError(
            f"{checkpoint.path}: the run saw {record['sampler']['data_length']} samples, the data has {data_length} "
            "now, so its order cannot be continued. Give the data of the run, or start another stage with stage.load."
        )
    progress = Progress()
    restore_counters(progress, record)
    restore_sampler(progress, record)
    restore_schedule(progress, record)
    return progress
