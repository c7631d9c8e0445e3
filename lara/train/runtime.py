"""How a stage is executed: device, precision, batch, rhythm. Nothing here is part of the method but the batch size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """
    device:      "auto" takes CUDA where there is one.
    precision:   "bf16" computes under autocast with float32 parameters; "fp32" without.
    tf32:        on CUDA, float32 matrix products through TF32.
    batch_size:  samples per micro-batch, of all ranks together; one update sees batch_size * accumulate samples.
    workers:     loader processes per rank; changes nothing but speed.
    sharding:    "ddp" (one replica per rank) | "fsdp2". See train.parallel for what exists.
    compile:     torch.compile of the losses.
    activation_checkpointing: see train.parallel.
    log_every:   steps between log lines (means over the steps between; also where ranks agree to stop).
    validate_every, validation_limit: steps between validations (None: only at the end), and batches in each (0: never).
    save_every, save_minutes: steps, and minutes, between checkpoints at most (None: by steps alone); a kill loses no
                 more. Several processes look at the clock when they log.
    keep_last:   how many checkpoints stay.
    requeue:     SIGTERM ends with exit code 75 ("start me again") instead of 143; SIGUSR1 always does (train.signals).
    nonfinite_limit: so many non-finite steps in a row end the run; they are counted when metrics are read (log_every).
    """

    buildable: ClassVar[str] = "run"

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    tf32: bool = True
    batch_size: int = 64
    accumulate: int = 1
    workers: int = 0
    sharding: Literal["ddp", "fsdp2"] = "ddp"
    compile: bool = False
    activation_checkpointing: bool = False
    log_every: int = 50
    validate_every: int | None = None
    validation_limit: int = 8
    save_every: int = 1000
    save_minutes: float | None = None
    keep_last: int = 2
    nonfinite_limit: int = 10
    requeue: bool = False

    def __post_init__(self) -> None:
        for name, choices in {
            "device": ("auto", "cpu", "cuda"),
            "precision": ("fp32", "bf16"),
            "sharding": ("ddp", "fsdp2"),
        }.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"runtime.{name} is {'|'.join(choices)}; got {getattr(self, name)!r}")
        for name, least in {
            "batch_size": 1,
            "accumulate": 1,
            "workers": 0,
            "log_every": 1,
            "validation_limit": 0,
            "save_every": 1,
            "keep_last": 1,
            "nonfinite_limit": 1,
        }.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"runtime.{name} is an integer of at least {least}; got {value!r}")
        every = self.validate_every
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ConfigError(f"runtime.validate_every is a positive integer or null; got {self.validate_every!r}")
        minutes = self.save_minutes
        if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, int | float) or minutes <= 0):
            raise ConfigError(f"runtime.save_minutes is a positive number or null; got {minutes!r}")
        if not isinstance(self.requeue, bool):
            raise ConfigError(f"runtime.requeue is true or false; got {self.requeue!r}")
