"""Several commands by one: an experiment may hold `stages`, an ordered map of names to overrides.

    stages:
      lam:    [experiment=demo/lam]
      labels: [label, "checkpoint=${output}/lam", "dataset=${data.root}"]
      policy: [experiment=lapa/tiny_latent, "labels=${output}/labels"]

`lara train experiment=THAT data.root=D output=O` is then `lara train` with each list (`lara label` with a list that
begins so), into O/lam, O/labels, O/policy. Every other override of the command line comes after each training's own
(so it wins, and in every training); `stages.lam.stage.steps=100` is for one stage alone. Each is an ordinary run: it
resumes by itself, and one that is finished is not repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lara.config.compose import compose, resolved
from lara.config.overrides import key_of
from lara.errors import ConfigError, nearest

_OWN = ("experiment", "output", "name", "stages")


@dataclass(frozen=True)
class StageCommand:
    """`lara COMMAND OVERRIDES`, whose last override is its output."""

    command: Literal["train", "label"]
    overrides: list[str]

    @property
    def line(self) -> str:
        return f"lara {self.command} {' '.join(self.overrides)}"


def stage_commands(overrides: Sequence[str]) -> dict[str, StageCommand]:
    """Stage -> the command that it is, in order; {} where the experiment has no `stages`.

    Raises ConfigError for a training that names no experiment, for a stage that names an output (that is the
    experiment's to say), and for an override of a stage that is not there.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationToMissingValueError

    single: dict[str, list[str]] = {}
    own: list[str] = []
    shared: list[str] = []
    for override in overrides:
        stage = re.match(r"([+~]*)stages\.([^.=]+)\.(.+)", override, re.S)
        if stage:
            single.setdefault(stage[2], []).append(stage[1] + stage[3])
        else:
            (own if key_of(override).split(".")[0] in _OWN else shared).append(override)
    # what stages may point at: the experiment itself, and where its data lies
    config = compose("train", [*own, *(o for o in shared if key_of(o) == "data.root")])
    if "stages" not in config:
        if single:
            raise ConfigError(f"this experiment has no stages, but stages.{next(iter(single))} is overridden")
        return {}
    try:
        stages: Any = OmegaConf.to_container(config.stages, resolve=True)
    except InterpolationToMissingValueError as error:
        raise ConfigError("a stage works on the data of the whole; give data.root=...") from error
    for name in single:
        if name not in stages:
            raise ConfigError(f"this experiment has no stage '{name}'. {nearest(name, stages)}")
    return {
        name: _command(name, given, shared, [*single.get(name, []), f"output={config.output}/{name}"])
        for name, given in stages.items()
    }


def stage_configs(commands: Mapping[str, StageCommand]) -> dict[str, dict[str, Any]]:
    """Stage -> resolved configuration of its command. All are composed here, before any runs.

    Raises ConfigError naming the stage.
    """
    out = {}
    for name, stage in commands.items():
        try:
            out[name] = resolved(compose(stage.command, stage.overrides))
        except ConfigError as error:
            raise ConfigError(f"stage '{name}': {error}") from error
    return out


def _command(name: str, given: list[str], shared: Sequence[str], last: Sequence[str]) -> StageCommand:
    labelling = given[:1] == ["label"]
    given = given[1:] if labelling else given
    keys = [key_of(o) for o in given]
    if keys.count("experiment") != (0 if labelling else 1) or "output" in keys:
        raise ConfigError(
            f"stages.{name} must name one experiment and no output, or begin with 'label' and name neither; got {given}"
        )
    # a training's overrides (steps, batch size, seed, ...) are no settings of labelling
    return StageCommand("label", [*given, *last]) if labelling else StageCommand("train", [*given, *shared, *last])
