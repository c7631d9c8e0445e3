"""Whether, and from which checkpoint, a run goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator

from lara.errors import CheckpointError, ConfigError
from lara.store.checkpoint import Checkpoint, load_latest, read_checkpoint, step_folders
from lara.train.optim import OptimConfig, lr_factor, schedule_length
from lara.train.parallel import from_main
from lara.train.result import TrainResult
from lara.train.stage import Stage

Resume = Literal["auto", "never", "must"]

# what may differ between a run and its continuation, because no number of the training depends on it
FREE = (
    "stage.steps",
    "optim.schedule_steps",  # with stage.steps, asked about by require_same_schedule
    "insist",
    "output",
    "name",
    "resume",
    "tracking",
    "hydra",
    "runtime.workers",
    "runtime.log_every",
    "runtime.validate_every",
    "runtime.validation_limit",
    "runtime.save_every",
    "runtime.save_minutes",
    "runtime.requeue",
    "runtime.keep_last",
    "runtime.nonfinite_limit",
)
_log = logging.getLogger("lara.train")
_ABSENT = "(absent)"


def choose_checkpoint(output: Path, resume: Resume, accelerator: Accelerator) -> Checkpoint | None:
    """The checkpoint to go on from, the same on every rank; None for a fresh start.

    Raises ConfigError for resume=never in a folder that holds checkpoints and resume=must in one that holds none,
    CheckpointError when there are some and none verifies.
    """
    if resume not in ("auto", "never", "must"):
        raise ConfigError(f"resume is auto|never|must, got {resume!r}")
    if resume == "never" and step_folders(output / "checkpoints"):
        raise ConfigError(f"resume=never, but {output} holds checkpoints; choose another output, or resume=auto")
    nothing, failed = -1, -2
    found: Checkpoint | None = None
    if accelerator.is_main_process:
        try:
            found = load_latest(output)
        except CheckpointError:
            from_main(accelerator, failed)  # the other ranks wait for a word
            raise
    step = from_main(accelerator, nothing if found is None else found.step)
    if step == failed:
        raise CheckpointError(f"rank 0 found no checkpoint in {output} that verifies; see its message")
    if step == nothing:
        if resume == "must":
            raise ConfigError(f"resume=must, but {output} holds no checkpoint; give the run's folder, or resume=auto")
        return None
    return found or read_checkpoint(output / "checkpoints" / f"step-{step:08d}", verify=False)


def finished_before(
    output: Path, *, stage: Stage, config: Mapping[str, Any], resume: Resume = "auto"
) -> TrainResult | None:
    """The result of a run that has nothing left to do; None when there is something, or nothing is known.

    It looks at no data and builds no system, so that a command can be repeated at no cost. Raises ConfigError when the
    finished run had another configuration.
    """
    folders = step_folders(output / "checkpoints")
    if not folders or resume == "never":
        return None
    try:
        if read_checkpoint(folders[0], verify=False).step < stage.steps:
            return None
        checkpoint = load_latest(output)
    except CheckpointError:
        return None  # `choose_checkpoint` says what is wrong, and falls back on an older one where it can
    if checkpoint is None or checkpoint.step < stage.steps:
        return None
    require_same_config(checkpoint.config, plain_config(config))
    return finished_result(checkpoint, output, stage)


def finished_result(checkpoint: Checkpoint, output: Path, stage: Stage) -> TrainResult:
    """What `train` returns for a checkpoint with which its stage was over."""
    nonfinite = checkpoint.train["nonfinite"]["total"]
    return TrainResult(
        output=output,
        checkpoint=checkpoint.path,
        step=checkpoint.step,
        steps=stage.steps,
        metrics={},
        nonfinite=nonfinite,
    )


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it will be read back from JSON. Raises ConfigError for what JSON cannot hold."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(config))
        return plain
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the configuration must be made of dicts, lists, strings and numbers: {error}; "
            "use OmegaConf.to_container(config, resolve=True)"
        ) from error


def require_resumable(checkpoint: Checkpoint, *, config: Mapping[str, Any], optim: OptimConfig, stage: Stage) -> None:
    """Raises ConfigError when the run cannot go on with this configuration, or its learning rate would jump."""
    require_same_config(checkpoint.config, config)
    if checkpoint.step < stage.steps:
        require_same_schedule(checkpoint.train, optim, stage)


def require_same_config(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ConfigError listing every key that differs, but for those that no number depends on (FREE)."""
    old, new = _flat(saved), _flat(now)
    different = [
        f"  {key}: {old.get(key, _ABSENT)!r} in the checkpoint, {new.get(key, _ABSENT)!r} now"
        for key in sorted(set(old) | set(new))
        if old.get(key, _ABSENT) != new.get(key, _ABSENT) and not any(key == f or key.startswith(f"{f}.") for f in FREE)
    ]
    if different:
        raise ConfigError(
            "the run cannot go on with another configuration:\n" + "\n".join(different) + "\n"
            "Restore these values, or start a new run in another output (stage.load takes weights along)."
        )


def require_same_schedule(record: Mapping[str, Any], optim: OptimConfig, stage: Stage) -> None:
    """A schedule is stretched over the stage: other `stage.steps` would bend the learning rate of a running training.

    Args:
        record: the checkpoint's train.json.

    Raises:
        ConfigError: the rate of a remaining step would differ, and `optim.schedule_steps` does not say that it may.
    """
    old, new, at = record["schedule"]["total_steps"], schedule_length(optim, stage), record["schedule"]["step"]
    if old == new or _same_rates(optim, old, new, at=at, end=stage.steps):
        return
    before, kept, after = (
        optim.lr * lr_factor(optim, step, total) for step, total in ((max(0, at - 1), old), (at, old), (at, new))
    )
    if optim.schedule_steps is not None:
        _log.warning(
            "the schedule of the learning rate is %s steps long instead of %s: %.3g at step %s, %.3g from now on",
            *(f"{new:,}", f"{old:,}", before, f"{at:,}", after),
        )
        return
    idle = ", so that nothing more would be learned" if kept == 0 else ""
    raise ConfigError(
        f"the learning rate was planned over {old:,} steps and stage.steps is {new:,} now: stretched over those, it "
        f"would jump from {before:.3g} to {after:.3g} at step {at:,}. Say which is meant:\n"
        f"  optim.schedule_steps={old}   the plan stays; the rate at step {at:,} is {kept:.3g}{idle}\n"
        f"  optim.schedule_steps={new}   the plan is stretched; the rate goes on at {after:.3g}"
    )


def _same_rates(optim: OptimConfig, old: int, new: int, *, at: int, end: int) -> bool:
    delays = {0, *optim.lr_delay.values()}
    return all(
        lr_factor(optim, step, old, delay=delay) == lr_factor(optim, step, new, delay=delay)
        for step in range(at, end)
        for delay in delays
    )


def warn_about_card(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """The data's card may differ in harmless ways (a moved folder), so this is said loudly and not refused."""
    old, new = _flat(saved), _flat(now)
    keys = [key for key in sorted(set(old) | set(new)) if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
    if keys:
        _log.warning("the data's card differs from the one in the checkpoint: %s", ", ".join(keys[:10]))


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, Mapping) and tree:
        return {k: v for key, sub in tree.items() for k, v in _flat(sub, f"{path}.{key}" if path else str(key)).items()}
    return {path: tree}
