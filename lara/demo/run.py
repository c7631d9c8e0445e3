"""The demo's plan: which commands, in which order, which of them side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lara.demo.steps import Runner, Step

EVALUATIONS = ("lara", "dit_only", "wrong_instruction", "blind")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """data: collected and checked first. left, right: trained side by side, balanced so that both end together.
    evaluations: rolled out last, each on all cores."""

    data: tuple[Step, ...]
    left: tuple[Step, ...]
    right: tuple[Step, ...]
    evaluations: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.data, *self.left, *self.right, *self.evaluations)


def plan(config: dict[str, Any]) -> Plan:
    """config: conf/demo.yaml, resolved."""
    out = config["output"]
    tasks = f"tasks=[{','.join(config['tasks'])}]"
    data, seed = f"{out}/data", f"seed={config['seed']}"

    def train(experiment: str, *more: str) -> Step:
        arguments = (
            "train",
            f"experiment={experiment}",
            f"data.root={data}",
            f"output={out}/{experiment}",
            seed,
            *more,
        )
        return Step(name=experiment, arguments=arguments)

    def roll_out(name: str, run: str, *more: str) -> Step:
        arguments = (
            "eval",
            f"client.checkpoint={out}/{run}",
            f"output={out}/eval_{name}",
            f"protocol.{tasks}",
            f"protocol.episodes={config['episodes']}",
            *more,
        )
        return Step(name=f"eval_{name}", arguments=arguments)

    collect = ("collect", tasks, f"episodes={config['demonstrations']}", seed, f"output={data}")
    steps, lam_steps = f"stage.steps={config['steps']}", f"stage.steps={config['lam_steps']}"
    lam = f"stage.load.lam={out}/demo_lam"
    return Plan(
        data=(
            Step(name="collect", arguments=collect),
            Step(name="check", arguments=("check", "experiment=demo_lara", f"data.root={data}")),
        ),
        left=(train("demo_lam", lam_steps), train("demo_lara", steps, lam)),
        right=(train("demo_dit_only", steps), train("demo_blind", steps)),
        evaluations=(
            roll_out("lara", "demo_lara"),
            roll_out("dit_only", "demo_dit_only"),
            roll_out("wrong_instruction", "demo_dit_only", "protocol.instruction=wrong", "videos=false"),
            roll_out("blind", "demo_blind", "videos=false"),
        ),
    )


def run(steps: Plan, output: Path) -> Runner:
    """Runs what is not done yet."""
    output.mkdir(parents=True, exist_ok=True)
    runner = Runner(output)
    for step in steps.data:
        runner.run(step)
    runner.lanes(steps.left, steps.right)
    for step in steps.evaluations:
        runner.run(step)
    return runner
