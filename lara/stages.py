"""Several trainings by one command: an experiment may hold `stages`, an ordered map of names to overrides.

    stages:
      lam:      [experiment=lam_rotvla_tiny]
      finetune: [experiment=rotvla_tiny_finetune, "lam_run=${output}/lam"]

`lara train experiment=THAT data.root=D output=O` is then `lara train` with each list, with every other override of the
command line after it (so it wins, and in every stage), into O/lam, O/finetune. `stages.lam.stage.steps=100` is for one
stage alone. Each is an ordinary run: it resumes by itself, and one that is finished is not repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lara.config import compose, resolved
from lara.errors import ConfigError, nearest

_OWN = ("experiment", "output", "name", "stages")


def stage_overrides(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Stage -> the overrides of its own `lara train`, in order; {} where the experiment has no `stages`.

    Raises ConfigError for a stage that names no experiment, or names an output (that is the experiment's to say), and
    for an override of a stage that is not there.
    """
    from omegaconf import OmegaConf

    single: dict[str, list[str]] = {}
    own: list[str] = []
    shared: list[str] = []
    for override in overrides:
        stage = re.match(r"([+~]*)stages\.([^.=]+)\.(.+)", override, re.S)
        if stage:
            single.setdefault(stage[2], []).append(stage[1] + stage[3])
        else:
            (own if _key(override).split(".")[0] in _OWN else shared).append(override)
    config = compose("train", own)
    if "stages" not in config:
        if single:
            raise ConfigError(f"this experiment has no stages, but stages.{next(iter(single))} is overridden")
        return {}
    out: dict[str, list[str]] = {}
    stages: Any = OmegaConf.to_container(config.stages, resolve=True)
    for name in single:
        if name not in stages:
            raise ConfigError(f"this experiment has no stage '{name}'. {nearest(name, stages)}")
    for name, given in stages.items():
        keys = [_key(o) for o in given]
        if keys.count("experiment") != 1 or "output" in keys:
            raise ConfigError(f"stages.{name} must name one experiment and no output, got {given}")
        out[name] = [*given, *shared, *single.get(name, []), f"output={config.output}/{name}"]
    return out


def stage_configs(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Stage -> resolved configuration; {} where the experiment has no `stages`. All are composed here, before any runs.

    Raises ConfigError naming the stage.
    """
    out = {}
    for name, given in stage_overrides(overrides).items():
        try:
            out[name] = resolved(compose("train", given))
        except ConfigError as error:
            raise ConfigError(f"stage '{name}': {error}") from error
    return out


def _key(override: str) -> str:
    """ "experiment" of "experiment=x", "a.b" of "+a.b=1"."""
    return re.split(r"[=@]", override.lstrip("+~"), maxsplit=1)[0]
