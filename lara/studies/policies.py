"""`lara policies`: several systems, each from data to a policy, rolled out on the same goals, in one set of tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lara.config.compose import compose, resolved
from lara.config.pipeline import stage_commands, stage_configs
from lara.errors import ConfigError, DataError
from lara.runs.book import Book
from lara.runs.plan import Arm, Phase, Plan, Step, one_seed_each
from lara.runs.run import Outcome, run
from lara.store.files import replace_file
from lara.store.records import read_json, write_json
from lara.studies.entries import Entry, read_entries

USE = "use"  # latents as they are generated: no intervention


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One entry of `policies` with one seed, and its roll-outs.

    Attributes:
        stages: Name -> resolved configuration of each training in it; a single training is named by its experiment.
        labels: Whether data is labelled in between.
        checkpoint: Where the policy lies at the end.
        folders: What is done to its latents -> the roll-out's folder; the first is "use".
        arm: The training command, then the roll-outs.
    """

    entry: Entry
    seed: int
    stages: Mapping[str, dict[str, Any]]
    labels: bool
    checkpoint: Path
    folders: Mapping[str, Path]
    arm: Arm

    @property
    def training(self) -> Step:
        return self.arm.steps[0]

    @property
    def samples(self) -> int:
        """Of all stages together, a sample seen twice counted twice."""
        runs = ((c["stage"]["steps"], c["runtime"]) for c in self.stages.values())
        return sum(steps * r["batch_size"] * r["accumulate"] for steps, r in runs)


def policies(config: Mapping[str, Any], *, command: str) -> Outcome:
    """Runs what is left; once all is finished, writes policies.md, policies.json and policies.html.

    Args:
        config: conf/policies.yaml, resolved.
        command: As it was typed, for the report.
    """
    from lara.inspect.footprint import measure
    from lara.pages.render import write_page
    from lara.studies.policies_page import markdown, page
    from lara.studies.policies_record import gather

    candidates = plan(config)
    output = Path(config["output"])
    total = sum(c.arm.total for c in candidates)
    print(f"{len(candidates)} policies, {total} training steps in all, then roll-outs", flush=True)
    study = Plan(title="policies", phases=(Phase(arms=tuple(c.arm for c in candidates), workers=config["workers"]),))
    outcome = run(study, output, minutes=config["minutes"])
    if outcome.finished:
        record = gather(
            candidates,
            config,
            book=outcome.book,
            flops={
                c.training.name: float(sum(m.flops * m.steps for m in map(measure, c.stages.values())))
                for c in candidates
            },
            latency=_latencies(candidates, output, outcome.book, chunks=config["chunks"]),
            command=command,
        )
        write_json(output / "policies.json", record)
        replace_file(output / "policies.md", markdown(record).encode())
        write_page(output / "policies.html", page(record, candidates, study.steps, outcome.book))
    return outcome


def plan(config: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """Every policy with every seed, in order.

    All commands are composed here, so that a mistake in the last one is reported before the first starts.

    Raises:
        ConfigError: A name is no experiment, an experiment ends without a policy, the reference or an intervention is
            of what is not listed, overrides do not compose, or a list is empty or repeats itself.
    """
    entries, seeds = read_entries(config["policies"], config["labels"], of="policies"), one_seed_each(config["seeds"])
    for count in ("threads", "processes", "chunks"):
        if config[count] < 1:
            raise ConfigError(f"{count} is at least 1, got {config[count]}")
    listed = [entry.text for entry in entries]
    if config["reference"] is not None and config["reference"] not in listed:
        raise ConfigError(f"the reference '{config['reference']}' is not among the policies {listed}")
    experiments = [entry.experiment for entry in entries]
    for name in config["interventions"] or ():
        if name not in experiments:
            raise ConfigError(f"interventions of '{name}', which is not among the policies {experiments}")
    return tuple(_candidate(config, entry, seed) for entry in entries for seed in seeds)


def _candidate(config: Mapping[str, Any], entry: Entry, seed: int) -> Candidate:
    name = f"{entry.key}_seed{seed}"
    folder = Path(config["output"]) / name
    given = (f"experiment={entry.experiment}", *entry.overrides, *config["overrides"])
    given = (*given, f"data.root={config['root']}", f"output={folder}", f"seed={seed}")
    commands = stage_commands(given)
    configs = stage_configs(commands)
    checkpoint = folder / list(configs)[-1] if configs else folder
    trainings = {stage: c for stage, c in configs.items() if commands[stage].command == "train"}
    trainings = trainings or {entry.experiment: resolved(compose("train", given))}
    last = list(trainings.values())[-1]
    if last["system"].get("policy") is None or Path(last["output"]) != checkpoint:
        raise ConfigError(f"'{entry.text}' ends without a policy; policies lists experiments that end in one")
    wanted = (USE, *(config["interventions"] or {}).get(entry.experiment, ()))
    folders = {use: Path(config["output"]) / f"eval_{name}{'' if use == USE else '_' + use}" for use in wanted}
    steps = {Path(c["output"]): int(c["stage"]["steps"]) for c in trainings.values()}
    train = Step(name=name, arguments=("train", *given), threads=config["threads"], trainings=steps)
    rollouts = (_rollout(config, checkpoint, place, use) for use, place in folders.items())
    return Candidate(
        entry=entry,
        seed=seed,
        stages=trainings,
        labels=len(trainings) < len(configs),
        checkpoint=checkpoint,
        folders=folders,
        arm=Arm(key=entry.key, seed=seed, steps=(train, *rollouts)),
    )


def _rollout(config: Mapping[str, Any], checkpoint: Path, folder: Path, use: str) -> Step:
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


def _latencies(
    candidates: tuple[Candidate, ...], output: Path, book: Book, *, chunks: int
) -> dict[str, dict[str, float]]:
    """By training's name; remembered in <output>/latency.json for these very checkpoints and commands."""
    from lara.inspect.latency import load, measure_latency

    loaded = load({c.training.name: c.checkpoint for c in candidates})
    # a folder trained anew by another command may end at the same step
    known_by = {c.training.name: [loaded[c.training.name].identity, book[c.training].command] for c in candidates}
    asked = {"chunks": chunks, "policies": known_by}
    path = output / "latency.json"
    known = read_json(path, DataError) if path.exists() else {}
    if known.get("asked") != asked:
        known = {"asked": asked, "measured": measure_latency(loaded, chunks=chunks)}
        write_json(path, known)
    measured: dict[str, dict[str, float]] = known["measured"]
    return measured
