"""Which policies `lara policies` trains, and the commands of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lara.config import choices, compose, resolved
from lara.demo.chains import Chain
from lara.demo.steps import Step
from lara.errors import ConfigError, nearest
from lara.stages import stage_commands, stage_configs

USE = "use"  # latents as they are generated: no intervention


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One training of one entry of `policies`, and its roll-outs.

    label: the entry as it was written. stages: name -> resolved configuration of each training in it; one that has no
    stages is named by its experiment. labels: whether data is labelled in between. checkpoint: where the policy lies
    at the end. evaluations: what is done to its latents -> roll-out; the first is "use". folders: theirs.
    """

    label: str
    seed: int
    stages: Mapping[str, dict[str, Any]]
    labels: bool
    checkpoint: Path
    train: Step
    evaluations: Mapping[str, Step]
    folders: Mapping[str, Path]

    @property
    def name(self) -> str:
        return self.train.name

    @property
    def chain(self) -> Chain:
        logs = {Path(c["output"]) / "metrics.jsonl": int(c["stage"]["steps"]) for c in self.stages.values()}
        return Chain(steps=(self.train, *self.evaluations.values()), logs=logs)

    @property
    def samples(self) -> int:
        """Of all stages together, a sample seen twice counted twice."""
        runs = ((c["stage"]["steps"], c["runtime"]) for c in self.stages.values())
        return sum(steps * r["batch_size"] * r["accumulate"] for steps, r in runs)


def plan(config: Mapping[str, Any]) -> tuple[Entry, ...]:
    """config: conf/policies.yaml, resolved. Every policy with every seed, in order.

    All commands are composed here, so that a mistake in the last one is said before the first starts. Raises
    ConfigError for names that are no experiment, experiments that end without a policy, a reference or interventions
    of what is not listed, overrides that do not compose, and lists that are empty or repeat.
    """
    policies, seeds = list(config["policies"]), list(config["seeds"])
    if not policies or len(set(policies)) != len(policies):
        raise ConfigError(f"policies lists different experiments, at least one; got {policies}")
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds lists different numbers, at least one; got {seeds}")
    for count in ("workers", "threads", "processes", "chunks"):
        if config[count] < 1:
            raise ConfigError(f"{count} is at least 1, got {config[count]}")
    if config["reference"] is not None and config["reference"] not in policies:
        raise ConfigError(f"the reference '{config['reference']}' is not among the policies {policies}")
    experiments = [label.split()[0] for label in policies]
    for name in config["interventions"] or ():
        if name not in experiments:
            raise ConfigError(f"interventions of '{name}', which is not among the policies {experiments}")
    return tuple(_entry(config, label, seed) for label in policies for seed in seeds)


def _entry(config: Mapping[str, Any], label: str, seed: int) -> Entry:
    experiment, *own = label.split()
    if experiment not in choices("experiment"):
        raise ConfigError(f"there is no experiment '{experiment}'. {nearest(experiment, choices('experiment'))}")
    name = f"{re.sub(r'[^0-9A-Za-z]+', '_', label).strip('_')}_seed{seed}"
    run = Path(config["output"]) / name
    given = (f"experiment={experiment}", *own, *config["overrides"])
    given = (*given, f"data.root={config['root']}", f"output={run}", f"seed={seed}")
    commands = stage_commands(given)
    configs = stage_configs(commands)
    checkpoint = run / list(configs)[-1] if configs else run
    trainings = {stage: c for stage, c in configs.items() if commands[stage].command == "train"}
    trainings = trainings or {experiment: resolved(compose("train", given))}
    last = list(trainings.values())[-1]
    if last["system"].get("policy") is None or Path(last["output"]) != checkpoint:
        raise ConfigError(f"'{label}' ends without a policy; policies lists experiments that end in one")
    wanted = (USE, *(config["interventions"] or {}).get(experiment, ()))
    folders = {use: Path(config["output"]) / f"eval_{name}{'' if use == USE else '_' + use}" for use in wanted}
    return Entry(
        label=label,
        seed=seed,
        stages=trainings,
        labels=len(trainings) < len(configs),
        checkpoint=checkpoint,
        train=Step(name=name, arguments=("train", *given), threads=config["threads"]),
        evaluations={use: _evaluation(config, checkpoint, folder, use) for use, folder in folders.items()},
        folders=folders,
    )


def _evaluation(config: Mapping[str, Any], checkpoint: Path, folder: Path, use: str) -> Step:
    arguments = (
        "eval",
        *config["evaluation"],
        f"client.checkpoint={checkpoint}",
        *([] if use == USE else [f"client.latents={use}"]),
        f"protocol.tasks=[{','.join(config['tasks'])}]",
        f"protocol.episodes={config['episodes']}",
        f"processes={config['processes']}",
        f"videos={str(config['videos'] and use == USE).lower()}",
        f"output={folder}",
    )
    resolved(compose("eval", arguments[1:]))
    return Step(name=folder.name, arguments=arguments)
