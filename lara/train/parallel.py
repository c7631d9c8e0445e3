"""Where the single-device system meets devices: one visible order, checkpointing -> compile -> shard.

Model code knows nothing of this. What does not exist is refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lara.errors import CheckpointError, ConfigError
from lara.systems.system import System
from lara.train.parts import as_module
from lara.train.runtime import RuntimeConfig


def require_device(runtime: RuntimeConfig) -> bool:
    """Whether this runtime computes on the CPU. Raises ConfigError for what does not exist, here or at all."""
    if runtime.sharding == "fsdp2":
        raise ConfigError(
            "runtime.sharding=fsdp2 is not implemented: checkpoints and per-part gradient norms read whole tensors. "
            "Use ddp."
        )
    if runtime.activation_checkpointing:
        raise ConfigError(
            "runtime.activation_checkpointing is not implemented: which blocks to recompute is a matter of each part. "
            "Use a smaller batch_size with accumulate."
        )
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device=cuda, but torch finds no CUDA device; use device=cpu or auto")
    return runtime.device == "cpu" or not torch.cuda.is_available()


def make_accelerator(runtime: RuntimeConfig) -> Accelerator:
    """Device, precision, and the process group when torchrun started several ranks.

    Raises ConfigError for what cannot be had on this machine.
    """
    cpu = require_device(runtime)
    # a process may train twice (a notebook, the demo), with another precision the second time
    AcceleratorState._reset_state(reset_partial_state=False)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="bf16" if runtime.precision == "bf16" else "no",
        dynamo_backend="no",  # compile is applied in `wrap`, before DDP
    )
    if (accelerator.device.type == "cpu") != cpu:
        raise ConfigError(
            f"this process trained on {accelerator.device} before; device={runtime.device} needs a fresh process"
        )
    if runtime.batch_size % accelerator.num_processes:
        raise ConfigError(
            f"runtime.batch_size={runtime.batch_size} is of all ranks together and must be a multiple of their number, "
            f"{accelerator.num_processes}"
        )
    if not cpu and runtime.tf32:
        torch.set_float32_matmul_precision("high")
    return accelerator


def wrap(system: System, accelerator: Accelerator, runtime: RuntimeConfig, *, skips_terms: bool) -> nn.Module:
    """What the step calls with (batch, terms): the system, compiled and with DDP's gradient hooks where asked for.

    The system itself is left as it is. accelerate's `prepare_model` is not used, because it rewrites the `forward` of
    what it is given, and a system that trained in bf16 would compute in bf16 ever after.

    Args:
        skips_terms: some term may not be computed, so that DDP has to look for parameters without a gradient.
    """
    module: nn.Module = as_module(system)
    if runtime.compile:
        compiled: Any = torch.compile(module)  # a module again, although torch promises a function only
        module = compiled
    if accelerator.num_processes == 1:
        return module
    return DistributedDataParallel(
        module,
        device_ids=None if accelerator.device.type == "cpu" else [accelerator.device.index],
        find_unused_parameters=skips_terms,
        gradient_as_bucket_view=True,
    )


def average_over_ranks(accelerator: Accelerator, values: Tensor) -> Tensor:
    """The mean over ranks, on every rank."""
    return values if accelerator.num_processes == 1 else accelerator.reduce(values, reduction="mean")


def largest_of_ranks(accelerator: Accelerator, *numbers: int) -> list[int]:
    """The largest of each number over all ranks; the same everywhere. Waits for the device when there are several."""
    if accelerator.num_processes == 1:
        return list(numbers)
    votes = torch.tensor(numbers, dtype=torch.int64, device=accelerator.device)
    torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MAX)
    return votes.tolist()


def from_main(accelerator: Accelerator, number: int) -> int:
    """Rank 0's number, on every rank."""
    if accelerator.num_processes == 1:
        return number
    value = torch.tensor([number], dtype=torch.int64, device=accelerator.device)
    torch.distributed.broadcast(value, src=0)
    return int(value.item())


def rows_of_ranks(accelerator: Accelerator, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CPU tensors of equal shapes on all ranks -> the same with one row per rank, (world, ...) on the CPU."""
    if accelerator.num_processes == 1:
        return {name: value[None] for name, value in states.items()}
    return {name: accelerator.gather(value[None].to(accelerator.device)).cpu() for name, value in states.items()}


@contextmanager
def main_decides(accelerator: Accelerator, what: str) -> Iterator[None]:
    """The block's outcome on rank 0 is everybody's: the others wait, and raise when it failed there."""
    try:
        yield
    except BaseException:
        from_main(accelerator, 0)
        raise
    if not from_main(accelerator, 1):
        raise CheckpointError(f"rank 0 could not {what}; see its message")
