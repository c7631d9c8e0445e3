"""The training loop. It knows systems, stages and data by their protocols only, never LAMs, policies or papers."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from lara.errors import ConfigError, DataError
from lara.store.checkpoint import write_checkpoint
from lara.systems.system import System
from lara.train.data import TrainingData
from lara.train.ema import EMA
from lara.train.first_batch import show_first_batch
from lara.train.load_parts import load_parts
from lara.train.nonfinite import NonFiniteGuard, NonFiniteLedger
from lara.train.optim import OptimConfig, build_optimizer, clip, part_norms, set_lr, total_norm
from lara.train.parallel import any_rank, average_over_ranks, main_decides, make_accelerator, rows_of_ranks, wrap
from lara.train.parts import as_module, part_paths
from lara.train.resume import Resume, choose_checkpoint, plain_config, require_same_config, warn_about_card
from lara.train.rng import capture_rng, isolated_rng, seed_everything
from lara.train.runtime import RuntimeConfig
from lara.train.signals import StopRequest
from lara.train.stage import Stage, apply_stage
from lara.train.state import (
    Progress,
    optimizer_record,
    restore_generators,
    restore_progress,
    restore_tensors,
    run_tensors,
)
from lara.train.tracking import Tracker, open_trackers
from lara.train.validation import validate
from lara.train.versions import versions
from lara.train.window import MetricWindow
from lara.types import Batch, Losses

_log = logging.getLogger("lara.train")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """finished: all steps of the stage are done (False: stopped by a signal, and resumable). metrics: the last line."""

    output: Path
    checkpoint: Path
    step: int
    finished: bool
    metrics: dict[str, float]
    nonfinite: int


def train(
    *,
    system: System,
    data: TrainingData,
    stage: Stage,
    optim: OptimConfig,
    runtime: RuntimeConfig,
    output: str | Path,
    config: Mapping[str, Any],
    seed: int,
    trackers: Sequence[Tracker] = (),
    resume: Resume = "auto",
) -> TrainResult:
    """Runs one stage, or what is left of it.

    output:  the run's folder; checkpoints/, metrics.jsonl, first_batch/, nonfinite/ appear in it.
    config:  the resolved configuration, kept in every checkpoint; a continuation must have the same (train.resume).
    resume:  "auto" goes on from the newest sound checkpoint in `output` if there is one.
    A run killed at any instant and resumed equals the uninterrupted one bit for bit on CPU (same versions and threads).
    Raises ConfigError, CheckpointError, DataError, NonFiniteError; StoreError when a checkpoint cannot be written.
    """
    output, config = Path(output), plain_config(config)
    as_module(system)
    accelerator = make_accelerator(runtime, skips_terms=stage.skips_terms(system.terms()))
    device, rank, world, main = (
        accelerator.device,
        accelerator.process_index,
        accelerator.num_processes,
        accelerator.is_main_process,
    )
    checkpoint = choose_checkpoint(output, resume, accelerator)
    card = data.card().to_dict()
    if checkpoint is not None:
        require_same_config(checkpoint.config, config)
        warn_about_card(checkpoint.card, card)

    # what learns, where it lives, and what updates it
    applied = apply_stage(system, stage)
    if checkpoint is None:
        for part, count in load_parts(system, stage.load).items():
            _log.info("loaded %s: %d of %d tensors", part, count, count)
    as_module(system).to(device)
    optimizer = build_optimizer(applied, optim)
    ema = EMA(applied, optim.ema_decay) if optim.ema_decay is not None else None
    progress = Progress()
    if checkpoint is not None:
        progress = restore_progress(checkpoint, data_length=len(data))
        restore_tensors(checkpoint, as_module(system), optimizer, ema)
        _log.info("resumed from %s", checkpoint.path)
    model = wrap(system, accelerator, runtime)
    applied.train()
    guard = NonFiniteGuard(applied, device, world)
    ledger = NonFiniteLedger(
        output,
        rank=rank,
        limit=runtime.nonfinite_limit,
        total=progress.nonfinite,
        in_a_row=progress.nonfinite_in_a_row,
    )
    window = MetricWindow(progress.window)
    average = partial(average_over_ranks, accelerator)

    def save() -> Path:
        ledger.record(window.drain(average))
        progress.nonfinite, progress.nonfinite_in_a_row, progress.window = ledger.total, ledger.in_a_row, window.sums
        generators = rows_of_ranks(accelerator, capture_rng(device))
        tensors = run_tensors(as_module(system), optimizer, ema, generators)
        records = {
            "parts": part_paths(system),
            "optimizer": optimizer_record(optimizer),
            "train": progress.to_record(stage=stage, seed=seed, world=world, data_length=len(data)),
            "config": config,
            "data": card,
            "versions": versions(device, world),
        }
        path = output / "checkpoints" / f"step-{progress.step:08d}"
        with main_decides(accelerator, "write the checkpoint"):
            if main:
                write_checkpoint(
                    output, step=progress.step, tensors=tensors, records=records, keep_last=runtime.keep_last
                )
        return path

    saved = checkpoint.path if checkpoint is not None else None
    metrics: dict[str, float] = {}
    with contextlib.ExitStack() as cleanup:
        stop = cleanup.enter_context(StopRequest())
        opened: list[Tracker] = []
        if main:
            opened = open_trackers(trackers, output=output, config=config, step=progress.step, cleanup=cleanup)
        if progress.step >= stage.steps and saved is not None:
            _log.info("%s: all %d steps were done already", output, stage.steps)
            return _result(output, saved, progress, stage, metrics)

        batches = _batches(data, progress, runtime, rank, world)
        if checkpoint is None:
            seed_everything(seed, rank=rank)
            first = next(batches)
            batches = itertools.chain([first], batches)
            if main:
                show_first_batch(first, output)
        else:
            generators = checkpoint.tensors("rng")
            restore_generators(generators, device=device, rank=rank, world=world, seed=seed, step=progress.step)

        bar = cleanup.enter_context(
            tqdm(total=stage.steps, initial=progress.step, desc=stage.name, unit="step", disable=not main)
        )
        clock, clock_step = time.perf_counter(), progress.step
        last = False
        while not last:
            log_step = (progress.step + 1) % runtime.log_every == 0 or progress.step + 1 >= stage.steps

            # ------------------------------ a single training step ------------------------------
            weights = stage.weights_at(progress.schedule_step)
            asked = frozenset(weights)
            lr = set_lr(optimizer, optim, progress.schedule_step, stage.steps)
            scalars: dict[str, Tensor] = {}
            totals, index = [], []
            guard.remember()
            for micro in range(runtime.accumulate):
                batch = next(batches)
                index.append(batch.index_B)
                with accelerator.no_sync(model) if micro < runtime.accumulate - 1 else contextlib.nullcontext():
                    losses: Losses = model(batch.to(device), asked)
                    _require_terms(losses, asked, system)
                    total: Tensor = sum(weights[k] * losses.terms[k] for k in weights)  # type: ignore[assignment]
                    accelerator.backward(total / runtime.accumulate)
                totals.append(total)
                for name, value in {"loss": total, **losses.terms, **losses.metrics}.items():
                    share = value.detach().float() / runtime.accumulate
                    scalars[name] = scalars[name] + share if name in scalars else share
            scalars["grad_norm"] = norm = total_norm(applied.learning, device)
            if log_step:
                scalars |= {f"grad_norm/{part}": value for part, value in part_norms(applied, device).items()}
            bad = guard.agree(totals, norm)
            if optim.clip_norm is not None:
                clip(applied.learning, norm, optim.clip_norm)
            optimizer.found_inf = bad  # type: ignore[attr-defined]  # the fused kernel's own way to skip on the device
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            guard.undo(bad)
            system.after_step()
            if ema is not None:
                ema.update(progress.schedule_step, bad)
            window.add(progress.step, scalars, bad, index)
            # -------------------------------------------------------------------------------------

            progress.step += 1
            progress.schedule_step += 1
            progress.position += runtime.accumulate
            progress.samples += runtime.accumulate * runtime.batch_size
            bar.update()
            stopping = stop.requested if world == 1 else log_step and any_rank(accelerator, stop.requested)
            last = progress.step >= stage.steps or stopping
            line: dict[str, float] = {}

            # once in a while: read the metrics (the only place where the host waits for the device)
            if log_step:
                ledger.record(window.drain(average))
                line = window.means()
                line |= {f"weight/{name}": value for name, value in weights.items()}
                line |= {f"lr/{group}": value for group, value in lr.items()}
                line |= {"nonfinite": ledger.total, "samples": progress.samples}
                now = time.perf_counter()
                rate = (progress.step - clock_step) / (now - clock)
                clock, clock_step = now, progress.step
                line |= {"time/steps_per_second": rate}
                line |= {"time/samples_per_second": rate * runtime.accumulate * runtime.batch_size}
                if "loss" in line:
                    bar.set_postfix(loss=f"{line['loss']:.4g}")

            # once in a while: validate
            due = runtime.validate_every is not None and progress.step % runtime.validate_every == 0
            if runtime.validation_limit and (due or progress.step >= stage.steps):
                line |= validate(
                    system=system,
                    applied=applied,
                    ema=ema,
                    data=data,
                    runtime=runtime,
                    weights=weights,
                    accelerator=accelerator,
                    seed=seed,
                )

            if line:
                metrics = line
                for tracker in opened:
                    tracker.log(progress.step, line)

            # once in a while: save
            if last or progress.step % runtime.save_every == 0:
                saved = save()

    assert saved is not None  # the last step saves
    progress.nonfinite = ledger.total
    return _result(output, saved, progress, stage, metrics)


def _result(output: Path, saved: Path, progress: Progress, stage: Stage, metrics: dict[str, float]) -> TrainResult:
    return TrainResult(
        output=output,
        checkpoint=saved,
        step=progress.step,
        finished=progress.step >= stage.steps,
        metrics=metrics,
        nonfinite=progress.nonfinite,
    )


def _batches(data: TrainingData, progress: Progress, runtime: RuntimeConfig, rank: int, world: int) -> Iterator[Batch]:
    """The loader, kept away from the global generators: whether it draws from them, and when, cannot matter then."""
    loader = data.loader(
        start_step=progress.position, batch_size=runtime.batch_size, rank=rank, world=world, workers=runtime.workers
    )
    while True:
        with isolated_rng():
            batch = next(loader, None)
        if batch is None:
            raise DataError("the loader ended; it must be endless (item k is the batch of step start_step + k)")
        yield batch


def _require_terms(losses: Losses, asked: frozenset[str], system: System) -> None:
    if set(losses.terms) != asked:
        raise ConfigError(
            f"{type(system).__name__}.losses was asked for {sorted(asked)} and returned {sorted(losses.terms)}; "
            "it must return exactly the terms asked for"
        )
