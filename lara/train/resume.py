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
from lara.train.parallel import from_main

Resume = Literal["auto", "never", "must"]

# what may differ between a run and its continuation, because no number of the training depends on it
FREE = (
    "stage.steps",
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


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it will be read back from JSON. Raises ConfigError for what JSON cannot hold."""
    try:
        return json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the configuration must be made of dicts, lists, strings and numbers: {error}; "
            "use OmegaConf.to_container(config, resolve=True)"
        ) from error


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
