"""`lara lams`: several latent action models, each trained and then probed on the same clips, in one set of tables."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lara.config.compose import choices, compose, require_experiment, resolved
from lara.errors import ConfigError
from lara.runs.plan import Arm, Phase, Plan, Step, one_seed_each
from lara.runs.run import Outcome, run
from lara.store.files import replace_file
from lara.store.records import write_json
from lara.studies.entries import Entry, read_entries


@dataclass(frozen=True, kw_only=True)
class Model:
    """One entry of `lams` with one seed.

    Attributes:
        steps: How long it trains.
        run, probes: The folders that its two commands write.
        arm: The two commands.
    """

    entry: Entry
    seed: int
    steps: int
    run: Path
    probes: Path
    arm: Arm

    @property
    def training(self) -> Step:
        return self.arm.steps[0]


def lams(config: Mapping[str, Any], *, command: str) -> Outcome:
    """Runs what is left; once all is finished, writes lams.md, lams.json and lams.html.

    Args:
        config: conf/lams.yaml, resolved.
        command: As it was typed, for the report.
    """
    from lara.pages.render import write_page
    from lara.studies.lams_page import markdown, page
    from lara.studies.lams_tables import gather

    models = plan(config)
    print(f"{len(models)} models, {sum(m.steps for m in models)} training steps in all, two commands each", flush=True)
    output = Path(config["output"])
    study = Plan(title="lams", phases=(Phase(arms=tuple(m.arm for m in models), workers=config["workers"]),))
    outcome = run(study, output, minutes=config["minutes"])
    if outcome.finished:
        family = gather(models, outcome.book, config, command=command)
        write_json(output / "lams.json", family.json())
        replace_file(output / "lams.md", markdown(family).encode())
        write_page(output / "lams.html", page(family, study.steps, outcome.book))
    return outcome


def plan(config: Mapping[str, Any]) -> tuple[Model, ...]:
    """Every entry with every seed, in order.

    All trainings are composed here, so that a mistake in the last one is reported before the first starts.

    Raises:
        ConfigError: A name is no experiment, an experiment trains no LAM, overrides do not compose, or a list is empty
            or repeats itself.
    """
    seeds = one_seed_each(config["seeds"])
    entries = read_entries(expand(config["lams"]), config["labels"], of="lams")
    return tuple(_model(config, entry, seed) for entry in entries for seed in seeds)


def expand(texts: Sequence[str]) -> list[str]:
    """Patterns among the entries replaced by the experiments that they match.

    Raises:
        ConfigError: Nothing matches.
    """
    known, found = choices("experiment"), []
    for text in texts:
        name, *overrides = shlex.split(text) or [""]
        matching = fnmatch.filter(known, name)
        if not matching:
            require_experiment(name)
        found += [shlex.join((one, *overrides)) for one in matching]
    return found


def _model(config: Mapping[str, Any], entry: Entry, seed: int) -> Model:
    name, output = f"{entry.key}_seed{seed}", Path(config["output"])
    folder, probes = output / name, output / f"probe_{name}"
    given = (f"experiment={entry.experiment}", *entry.overrides, *config["overrides"])
    given = (*given, f"data.root={config['root']}", f"output={folder}", f"seed={seed}")
    composed = resolved(compose("train", given))
    if composed["system"].get("lam") is None:
        raise ConfigError(f"'{entry.text}' trains no latent action model; lams lists experiments that do")
    steps = int(composed["stage"]["steps"])
    asked = [f"{key}={config[key]}" for key in ("stride", "horizons", "clips", "fit_clips")]
    asked += [f"mlp.{key}={value}" for key, value in config["mlp"].items()]
    asked += [f"checkpoint={folder}", f"output={probes}", f"probe=[{','.join(config['probe'])}]"]
    train = Step(name=name, arguments=("train", *given), trainings={folder: steps})
    probe = Step(name=f"probe_{name}", arguments=("probe", *asked))
    arm = Arm(key=entry.key, seed=seed, steps=(train, probe))
    return Model(entry=entry, seed=seed, steps=steps, run=folder, probes=probes, arm=arm)
