"""Which models `lara lams` trains, and the two commands of each."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lara.config import choices, compose, resolved
from lara.demo.chains import Chain
from lara.demo.steps import Step
from lara.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class Model:
    """One training of one entry of `lams`, and its probing. label: the entry as it was written. steps: how long it
    trains. run, probes: the folders that the two commands write."""

    label: str
    seed: int
    steps: int
    run: Path
    probes: Path
    train: Step
    probe: Step

    @property
    def chain(self) -> Chain:
        return Chain(steps=(self.train, self.probe), logs={self.run / "metrics.jsonl": self.steps})


def plan(config: dict[str, Any]) -> tuple[Model, ...]:
    """config: conf/lams.yaml, resolved. Every entry with every seed, in order.

    Every training is composed here, so that a mistake in the last one is said before the first starts. Raises
    ConfigError for names that are no experiment, overrides that do not compose, and lists that are empty or repeat.
    """
    entries, seeds = expand(config["lams"]), list(config["seeds"])
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds lists different numbers, at least one; got {seeds}")
    if config["workers"] < 1:
        raise ConfigError(f"workers counts trainings side by side, at least 1; got {config['workers']}")
    return tuple(_model(config, entry, seed) for entry in entries for seed in seeds)


def expand(lams: Sequence[str]) -> list[str]:
    """Patterns among the entries replaced by the experiments that they match."""
    known, found = choices("experiment"), []
    for entry in lams:
        name, *overrides = entry.split()
        matching = fnmatch.filter(known, name)
        if not matching:
            raise ConfigError(f"there is no experiment '{name}'. {nearest(name, known)}")
        found += [" ".join([one, *overrides]) for one in matching]
    if not found:
        raise ConfigError("lams names no latent action model; give at least one experiment")
    if len(set(found)) != len(found):
        raise ConfigError(f"lams names a model twice: {found}")
    return found


def _model(config: dict[str, Any], entry: str, seed: int) -> Model:
    experiment, *own = entry.split()
    name = f"{re.sub(r'[^0-9A-Za-z]+', '_', entry).strip('_')}_seed{seed}"
    output = Path(config["output"])
    run, probes = output / name, output / f"probe_{name}"
    given = (f"experiment={experiment}", *own, *config["overrides"])
    given = (*given, f"data.root={config['root']}", f"output={run}", f"seed={seed}")
    composed = resolved(compose("train", given))
    if composed["system"].get("lam") is None:
        raise ConfigError(f"'{entry}' trains no latent action model; lams lists experiments that do")
    asked = [f"{key}={config[key]}" for key in ("stride", "horizons", "clips", "fit_clips")]
    asked += [f"mlp.{key}={value}" for key, value in config["mlp"].items()]
    probe = ("probe", f"checkpoint={run}", f"output={probes}", f"probe=[{','.join(config['probe'])}]", *asked)
    return Model(
        label=entry,
        seed=seed,
        steps=composed["stage"]["steps"],
        run=run,
        probes=probes,
        train=Step(name=name, arguments=("train", *given)),
        probe=Step(name=f"probe_{name}", arguments=probe),
    )
