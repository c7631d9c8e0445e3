"""A training between two steps: what it is made of, how it begins or goes on, and how it is saved."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from lara.errors import DataError
from lara.store.checkpoint import Checkpoint, write_checkpoint
from lara.systems.system import System
from lara.train.data import TrainingData
from lara.train.ema import EMA
from lara.train.first_batch import show_first_batch
from lara.train.load_parts import load_parts
from lara.train.nonfinite import NonFiniteLedger
from lara.train.optim import OptimConfig, build_optimizer
from lara.train.parallel import average_over_ranks, main_decides, rows_of_ranks, wrap
from lara.train.parts import as_module, part_paths
from lara.train.resume import warn_about_card
from lara.train.rng import capture_rng, isolated_rng, seed_everything
from lara.train.runtime import RuntimeConfig
from lara.train.stage import AppliedStage, Stage, apply_stage
from lara.train.state import (
    Progress,
    optimizer_record,
    restore_generators,
    restore_progress,
    restore_tensors,
    run_tensors,
)
from lara.train.step import TrainingStep
from lara.train.versions import versions
from lara.train.window import MetricWindow
from lara.types import Batch

_log = logging.getLogger("lara.train")


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What learns, where it lives, and what updates it; all of a training that needs no data."""

    system: System
    applied: AppliedStage
    optimizer: torch.optim.AdamW
    ema: EMA | None
    step: TrainingStep


def make_learner(
    system: System,
    *,
    stage: Stage,
    optim: OptimConfig,
    runtime: RuntimeConfig,
    accelerator: Accelerator,
    checkpoint: Checkpoint | None,
) -> Learner:
    """Freezes what does not learn, loads the stage's parts (or the checkpoint's state), and makes the step.

    Raises ConfigError or CheckpointError when stage, system and saved weights do not fit together.
    """
    stage = stage.for_system(system)
    applied = apply_stage(system, stage)
    if checkpoint is None:
        for part, tensors in load_parts(system, stage.load).items():
            _log.info("loaded %s: %d of %d tensors", part, tensors, tensors)
    module = as_module(system).to(accelerator.device)
    optimizer = build_optimizer(applied, optim)
    ema = EMA(applied, optim.ema_decay) if optim.ema_decay is not None else None
    if checkpoint is not None:
        restore_tensors(checkpoint, module, optimizer, ema)
    step = TrainingStep(
        applied,
        optimizer,
        stage=stage,
        optim=optim,
        model=wrap(system, accelerator, runtime, skips_terms=stage.skips_terms(system.terms())),
        ema=ema,
        accumulate=runtime.accumulate,
        autocast=accelerator.autocast,
        world=accelerator.num_processes,
    )
    applied.train()
    return Learner(system=system, applied=applied, optimizer=optimizer, ema=ema, step=step)


@dataclass(kw_only=True)
class Run:
    """A training that can take steps, be read, and be saved.

    Attributes:
        checkpoint: what it goes on from; None for a fresh one.
        saved: the newest checkpoint's folder.
    """

    learner: Learner
    data: TrainingData
    stage: Stage
    runtime: RuntimeConfig
    accelerator: Accelerator
    output: Path
    config: Mapping[str, Any]
    seed: int
    checkpoint: Checkpoint | None
    progress: Progress
    ledger: NonFiniteLedger
    window: MetricWindow
    card: Mapping[str, Any]
    saved: Path | None = None

    @classmethod
    def begin(
        cls,
        learner: Learner,
        data: TrainingData,
        *,
        stage: Stage,
        runtime: RuntimeConfig,
        accelerator: Accelerator,
        output: Path,
        config: Mapping[str, Any],
        seed: int,
        checkpoint: Checkpoint | None,
    ) -> Run:
        """At step 0, or where the checkpoint was written. The data must be prepared.

        Raises CheckpointError when the data is not what it was.
        """
        card, progress = data.cards().to_dict(), Progress()
        if checkpoint is not None:
            warn_about_card(checkpoint.card, card)
            progress = restore_progress(checkpoint, data_length=len(data))
        ledger = NonFiniteLedger(
            output,
            rank=accelerator.process_index,
            limit=runtime.nonfinite_limit,
            total=progress.nonfinite,
            in_a_row=progress.nonfinite_in_a_row,
        )
        return cls(
            learner=learner,
            data=data,
            stage=stage,
            runtime=runtime,
            accelerator=accelerator,
            output=output,
            config=config,
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
            ledger=ledger,
            window=MetricWindow(progress.window),
            card=card,
            saved=None if checkpoint is None else checkpoint.path,
        )

    @property
    def finished(self) -> bool:
        return self.progress.step >= self.stage.steps

    def batches(self) -> Iterator[Batch]:
        """Micro-batches from where the run stands. Puts the random generators where they belong at this step, and shows
        the first batch of a fresh run."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        loader = self.data.loader(
            start_step=self.progress.position,
            batch_size=self.runtime.batch_size,
            rank=rank,
            world=world,
            workers=self.runtime.workers,
        )
        batches = _undisturbed(loader)
        if self.checkpoint is not None:
            device, states = self.accelerator.device, self.checkpoint.tensors("rng")
            restore_generators(states, device=device, rank=rank, world=world, seed=self.seed, step=self.progress.step)
            return batches
        seed_everything(self.seed, rank=rank)
        first = next(batches)
        if self.accelerator.is_main_process:
            show_first_batch(first, self.output)
        return chain([first], batches)

    def read_metrics(self) -> dict[str, float]:
        """Means since the last reading. Waits for the device; writes down non-finite steps.

        Raises NonFiniteError after too many of them in a row.
        """
        self._drain()
        return self.window.means()

    def save(self) -> Path:
        """Writes a checkpoint; the others wait for rank 0. Raises CheckpointError on them when it fails there."""
        self._drain()
        progress, learner, accelerator = self.progress, self.learner, self.accelerator
        progress.nonfinite, progress.nonfinite_in_a_row = self.ledger.total, self.ledger.in_a_row
        progress.window = self.window.sums
        world, device = accelerator.num_processes, accelerator.device
        generators = rows_of_ranks(accelerator, capture_rng(device))
        tensors = run_tensors(as_module(learner.system), learner.optimizer, learner.ema, generators)
        records = {
            "parts": part_paths(learner.system),
            "optimizer": optimizer_record(learner.optimizer),
            "train": progress.to_record(
                stage=self.stage,
                schedule_steps=learner.step.schedule_steps,
                seed=self.seed,
                world=world,
                data_length=len(self.data),
            ),
            "config": self.config,
            "data": self.card,
            "versions": versions(device, world),
        }
        with main_decides(accelerator, "write the checkpoint"):
            if accelerator.is_main_process:
                keep = self.runtime.keep_last
                write_checkpoint(self.output, step=progress.step, tensors=tensors, records=records, keep_last=keep)
        self.saved = self.output / "checkpoints" / f"step-{progress.step:08d}"
        return self.saved

    def _drain(self) -> None:
        self.ledger.record(self.window.drain(partial(average_over_ranks, self.accelerator)))


def _undisturbed(loader: Iterator[Batch]) -> Iterator[Batch]:
    """The loader, kept away from the global generators: whether it draws from them, and when, cannot matter then."""
    while True:
        with isolated_rng():
            batch = next(loader, None)
        if batch is None:
            raise DataError("the loader ended; it must be endless (item k is the batch of step start_step + k)")
        yield batch
