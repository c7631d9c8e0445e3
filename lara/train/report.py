"""The lines in which a training says what it is about to do, and what came of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from signal import Signals

from lara.train.console import duration
from lara.train.optim import OptimConfig
from lara.train.result import TrainResult
from lara.train.runtime import RuntimeConfig
from lara.train.stage import AppliedStage, Stage


def about_system(applied: AppliedStage) -> str:
    """What there is and what of it learns, with parameter counts."""
    by_part: dict[str, int] = {}
    for name, parameter in applied.learning.items():
        part = applied.part_of[name]
        by_part[part] = by_part.get(part, 0) + parameter.numel()
    shown = ", ".join(f"{part} {count(n)}" for part, n in by_part.items())
    total = count(sum(p.numel() for p in applied.system.parameters()))
    return f"{type(applied.system).__name__}: {total} parameters, {count(sum(by_part.values()))} learn ({shown})"


def about_execution(stage: Stage, runtime: RuntimeConfig, *, device: str, world: int) -> str:
    """Where it runs, how large a step is, and how often something is saved."""
    processes = f", {world} processes" if world > 1 else ""
    parts = f" ({runtime.accumulate} times {runtime.batch_size})" if runtime.accumulate > 1 else ""
    saves = f"{runtime.save_every:,} steps" + (f" or {runtime.save_minutes:g} min" if runtime.save_minutes else "")
    return (
        f"{device}, {runtime.precision}{processes}: {stage.steps:,} steps of "
        f"{runtime.batch_size * runtime.accumulate:,} samples{parts}; a checkpoint every {saves}"
    )


def about_checkpoint(path: Path, metrics: Mapping[str, float]) -> str:
    """A checkpoint that was just written, with the validation loss where one was measured at this step."""
    loss = metrics.get("validation/loss")
    return f"saved {path}" + ("" if loss is None else f", validation loss {loss:.4g}")


def about_end(result: TrainResult, *, seconds: float, parts: Iterable[str]) -> str:
    """The score, where the result lies, and the command that is likely to come next."""
    score = [f"{name} {result.metrics[name]:.4g}" for name in ("loss", "validation/loss") if name in result.metrics]
    skipped = f"; {result.nonfinite} non-finite steps were skipped" if result.nonfinite else ""
    return (
        f"finished {result.steps:,} steps in {duration(seconds)}: {', '.join(score) or 'no score'}{skipped}\n"
        f"  {result.checkpoint}\n  next: {next_command(result.output, parts)}"
    )


def about_stop(result: TrainResult) -> str:
    """For a run that a signal ended."""
    name = Signals(result.signal).name if result.signal else "a signal"
    return (
        f"stopped by {name} after step {result.step:,} of {result.steps:,}; saved {result.checkpoint}\n"
        "  the same command goes on from there"
    )


def about_finished_before(result: TrainResult, optim: OptimConfig, *, parts: Iterable[str]) -> str:
    """For a run that was asked again."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime((result.checkpoint / "manifest.json").stat().st_mtime))
    done, more = result.step, 2 * result.step
    plan = optim.schedule_steps or result.step
    longer = f"stage.steps={more}" + (
        f" optim.schedule_steps={plan} (the plan stays) or optim.schedule_steps={more} (the plan is stretched)"
        if optim.schedule == "cosine"
        else ""
    )
    return (
        f"{result.output}: finished at step {done:,} on {when}, nothing to do\n"
        f"  next: {next_command(result.output, parts)}\n  or more steps: {longer}"
    )


def next_command(output: Path, parts: Iterable[str]) -> str:
    """What a person would type now: roll a policy out, or ask a latent action model what its latents mean."""
    acts = any(part.split(".")[0] == "policy" for part in parts)
    command, key = ("eval", "client.checkpoint") if acts else ("probe", "checkpoint")
    beside = output.with_name(f"{command}_{output.name}")
    return shlex.join(["lara", command, f"{key}={output}", f"output={beside}"])


def count(number: int) -> str:
    """ "5.3 M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return str(number)
