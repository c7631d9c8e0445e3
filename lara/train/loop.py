"""The training loop. It knows systems, stages and data by their protocols only, never LAMs, policies or papers."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.store.checkpoint import read_checkpoint
from lara.store.files import remove_leftovers
from lara.store.lock import only_one
from lara.systems.system import System
from lara.train.console import ProgressBar
from lara.train.data import TrainingData
from lara.train.faults import explained
from lara.train.optim import OptimConfig
from lara.train.parallel import largest_of_ranks, main_decides, make_accelerator
from lara.train.parts import as_module
from lara.train.report import (
    about_checkpoint,
    about_end,
    about_execution,
    about_finished_before,
    about_stop,
    about_system,
)
from lara.train.result import TrainResult, read_result, write_result
from lara.train.resume import Resume, choose_checkpoint, finished_result, plain_config, require_resumable
from lara.train.run import Run, make_learner
from lara.train.runtime import RuntimeConfig
from lara.train.signals import StopRequest, exit_code
from lara.train.stage import Stage
from lara.train.step import StepOutput
from lara.train.tracking import Tracker, open_trackers
from lara.train.validation import validate

_log = logging.getLogger("lara.train")


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
    stop: StopRequest | None = None,
) -> TrainResult:
    """Runs one stage, or what is left of it.

    A run killed at any instant and resumed equals the uninterrupted one bit for bit on CPU (same versions and threads).
    What can fail without data does so before the data is prepared.

    Args:
        output: the run's folder; checkpoints/, metrics.jsonl, first_batch/, nonfinite/ and result.json appear in it.
        config: the resolved configuration, kept in every checkpoint; a continuation must have the same (train.resume).
        trackers: where the numbers go besides metrics.jsonl; only rank 0's are opened.
        resume: "auto" goes on from the newest sound checkpoint in `output` if there is one.
        stop: the caller's, entered already; None: signals are caught in here.

    Raises:
        ConfigError, CheckpointError, DataError, NonFiniteError: see their messages.
        StoreError: a file cannot be written; the last checkpoint is sound.
        Interrupted: a signal came before the first step, or twice.
    """
    output, config = Path(output), plain_config(config)
    as_module(system)
    with contextlib.ExitStack() as cleanup:
        stop = cleanup.enter_context(StopRequest()) if stop is None else stop
        accelerator = make_accelerator(runtime)
        with main_decides(accelerator, "lock the run's folder"):
            if accelerator.is_main_process:
                cleanup.enter_context(only_one(output, "training"))
                remove_leftovers(output / "checkpoints", locked=True)
        cleanup.enter_context(explained(output))

        # whatever can fail without data fails here, before any frame is decoded
        checkpoint = choose_checkpoint(output, resume, accelerator)
        if checkpoint is not None:
            require_resumable(checkpoint, config=config, optim=optim, stage=stage)
            if checkpoint.step >= stage.steps:
                result = finished_result(checkpoint, output, stage)
                if accelerator.is_main_process:
                    report_finished(result, optim)
                return result
        learner = make_learner(
            system, stage=stage, optim=optim, runtime=runtime, accelerator=accelerator, checkpoint=checkpoint
        )

        data.prepare()
        run = Run.begin(
            learner,
            data,
            stage=stage,
            runtime=runtime,
            accelerator=accelerator,
            output=output,
            config=config,
            seed=seed,
            checkpoint=checkpoint,
        )
        opened: list[Tracker] = []
        if accelerator.is_main_process:
            _introduce(run)
            opened = open_trackers(trackers, output=output, config=config, step=run.progress.step, cleanup=cleanup)
        cleanup.enter_context(stop.deferred())
        return _steps(run, opened, stop)


def report_finished(result: TrainResult, optim: OptimConfig) -> None:
    """Says that there is nothing to do, and leaves a result where an older run wrote none."""
    parts = read_checkpoint(result.checkpoint, verify=False).part_paths
    _log.info("%s", about_finished_before(result, optim, parts=parts))
    known = read_result(result.output)
    if known is None or not known["finished"]:
        write_result(result.output, step=result.step, steps=result.steps, exit_code=0)


def _introduce(run: Run) -> None:
    """Says what is going to happen, and where it starts."""
    stage, progress = run.stage, run.progress
    device, world = str(run.accelerator.device), run.accelerator.num_processes
    _log.info("%s: %s", stage.name, about_system(run.learner.applied))
    _log.info("data: %s", run.data.summary())
    for line in run.data.notes():
        _log.info("data: %s", line)
    _log.info("on %s", about_execution(stage, run.runtime, device=device, world=world))
    if run.checkpoint is not None:
        _log.info("resumed from %s at step %s of %s", run.checkpoint.path, f"{progress.step:,}", f"{stage.steps:,}")
    _log.info("output: %s", run.output)
    write_result(run.output, step=progress.step, steps=stage.steps, exit_code=None)


def _steps(run: Run, trackers: Sequence[Tracker], stop: StopRequest) -> TrainResult:
    """Takes steps until the stage is over or a signal asks for an end; saves on the way and at the end."""
    runtime, stage, progress, main = run.runtime, run.stage, run.progress, run.accelerator.is_main_process
    alone, metrics, number, last = run.accelerator.num_processes == 1, dict[str, float](), 0, False
    batches = run.batches()
    clock = _Clock(run)
    with contextlib.closing(ProgressBar(name=stage.name, steps=stage.steps, start=progress.step, shown=main)) as bar:
        while not last:
            log = (progress.step + 1) % runtime.log_every == 0 or progress.step + 1 >= stage.steps

            output = run.learner.step(batches, progress.schedule_step, by_part=log)
            run.window.add(progress.step, output.scalars, output.bad, output.index)
            progress.advance(micro_batches=runtime.accumulate, batch_size=runtime.batch_size)
            bar.advance()

            # ranks agree where they wait for each other anyway
            overdue = 0
            if alone or log:
                number, overdue = largest_of_ranks(run.accelerator, stop.number or 0, int(clock.save_is_due()))
            last = run.finished or number > 0

            line: dict[str, float] = {}
            if log:
                line = _metrics(run, output, clock)
                bar.show(line.get("loss"))
            due = runtime.validate_every is not None and progress.step % runtime.validate_every == 0
            if runtime.validation_limit and (due or run.finished):
                line |= _validation(run, output.weights)
            if line:
                metrics = line
                for tracker in trackers:
                    tracker.log(progress.step, line)

            if last or overdue or progress.step % runtime.save_every == 0:
                _save(run, line)
                clock.saved()
    return _end(run, metrics, signal=number or None, seconds=clock.elapsed())


class _Clock:
    """Wall time: how fast steps are, and when the next checkpoint is due by `runtime.save_minutes`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begun = self._read = self._saved = time.monotonic()
        self._step = run.progress.step

    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def save_is_due(self) -> bool:
        minutes = self._run.runtime.save_minutes
        return minutes is not None and time.monotonic() - self._saved >= 60 * minutes

    def saved(self) -> None:
        self._saved = time.monotonic()

    def steps_per_second(self) -> float:
        """Since it was asked before."""
        now, step = time.monotonic(), self._run.progress.step
        rate = (step - self._step) / max(1e-9, now - self._read)
        self._read, self._step = now, step
        return rate


def _metrics(run: Run, output: StepOutput, clock: _Clock) -> dict[str, float]:
    """The log line; here the host waits for the device."""
    line = run.read_metrics()
    line |= {f"weight/{name}": value for name, value in output.weights.items()}
    line |= {f"lr/{group}": value for group, value in output.lr.items()}
    line |= {"nonfinite": run.ledger.total, "samples": run.progress.samples}
    rate = clock.steps_per_second()
    line |= {"time/steps_per_second": rate}
    line |= {"time/samples_per_second": rate * run.runtime.accumulate * run.runtime.batch_size}
    return line


def _validation(run: Run, weights: Mapping[str, float]) -> dict[str, float]:
    return validate(
        system=run.learner.system,
        applied=run.learner.applied,
        ema=run.learner.ema,
        data=run.data,
        runtime=run.runtime,
        weights=weights,
        accelerator=run.accelerator,
        seed=run.seed,
    )


def _save(run: Run, line: Mapping[str, float]) -> None:
    path = run.save()
    if run.accelerator.is_main_process:
        write_result(run.output, step=run.progress.step, steps=run.stage.steps, exit_code=None)
        _log.info("%s", about_checkpoint(path, line))


def _end(run: Run, metrics: dict[str, float], *, signal: int | None, seconds: float) -> TrainResult:
    """The result, on disk and in words. A signal that came with the last step changes nothing: the stage is over."""
    signal = None if run.finished else signal
    assert run.saved is not None  # the last step saves
    result = TrainResult(
        output=run.output,
        checkpoint=run.saved,
        step=run.progress.step,
        steps=run.stage.steps,
        metrics=metrics,
        nonfinite=run.ledger.total,
        signal=signal,
        exit_code=exit_code(signal, requeue=run.runtime.requeue),
    )
    if run.accelerator.is_main_process:
        write_result(run.output, step=result.step, steps=result.steps, exit_code=result.exit_code, signal=result.signal)
        if result.finished:
            _log.info("%s", about_end(result, seconds=seconds, parts=run.learner.system.parts()))
        else:
            _log.warning("%s", about_stop(result))
    return result
