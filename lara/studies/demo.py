"""`lara demo`: demonstrations, a LAM, a policy without it and one with it, two controls, roll-outs, one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lara.runs.plan import Arm, Phase, Plan, Step
from lara.runs.run import Outcome, run
from lara.store.records import write_json

EVALUATIONS = ("lara", "dit_only", "wrong_instruction", "blind")


def demo(config: Mapping[str, Any]) -> Outcome:
    """Runs what is left of the demo; once all is finished, writes summary.json, cost.json and report.html.

    summary.json holds results alone: two demos of one configuration give the same file, interrupted or not. What they
    took, and where, is in cost.json.

    Args:
        config: conf/demo.yaml, resolved.
    """
    from lara.pages.render import write_page
    from lara.studies.demo_page import page
    from lara.studies.demo_summary import cost, summarise
    from lara.studies.lam_view import look

    output = Path(config["output"])
    described = plan(config)
    outcome = run(described, output, minutes=config["minutes"])
    if outcome.finished:
        views = {name: look(output / name) for name in ("lam", "lara")}
        summary = summarise(output, config, views)
        took = cost(described, outcome.book, workers=config["workers"])
        for name, content in (("summary", summary), ("cost", took)):
            write_json(output / f"{name}.json", content)
        write_page(output / "report.html", page(output, config, described, outcome.book, summary, views))
    return outcome


def plan(config: Mapping[str, Any]) -> Plan:
    """config: conf/demo.yaml, resolved. Trainings run side by side on one thread each (these networks are too small to
    keep two cores busy), roll-outs one after the other on all cores."""
    out, seed = Path(config["output"]), config["seed"]
    tasks = f"tasks=[{','.join(config['tasks'])}]"

    def arm(*steps: Step) -> Arm:
        return Arm(key=steps[0].name, seed=seed, steps=steps)

    def train(name: str, steps: int, *more: str) -> Step:
        given = (f"experiment=demo/{name}", f"data.root={out}/data", f"output={out}/{name}", f"seed={seed}")
        given = (*given, f"stage.steps={steps}", *more, *config["overrides"], *_cameras(config, name))
        return Step(name=name, arguments=("train", *given), trainings={out / name: steps})

    def roll_out(name: str, run: str, *more: str) -> Step:
        given = (f"client.checkpoint={out}/{run}", f"output={out}/eval_{name}", f"protocol.{tasks}")
        given = (*given, f"protocol.episodes={config['episodes']}", *more, *config["evaluation"])
        return Step(name=f"eval_{name}", arguments=("eval", *given))

    collect = ("collect", tasks, f"episodes={config['demonstrations']}", f"seed={seed}", f"output={out}/data")
    check = ("check", "experiment=demo/lara", f"data.root={out}/data", *config["overrides"])
    check = (*check, *_cameras(config, "lara"))
    steps, lam_steps = config["steps"], config["lam_steps"]
    return Plan(
        title="demo",
        phases=(
            Phase(
                arms=(
                    arm(
                        Step(name="collect", arguments=(*collect, *config["collection"])),
                        Step(name="check", arguments=check),
                    ),
                )
            ),
            Phase(
                arms=(
                    arm(
                        train("lam", lam_steps),
                        train("lara", steps, f"stage.load.lam={out}/lam"),
                    ),
                    arm(train("dit_only", steps)),
                    arm(train("blind", steps)),
                ),
                workers=config["workers"],
            ),
            Phase(
                arms=(
                    arm(roll_out("lara", "lara")),
                    arm(roll_out("dit_only", "dit_only")),
                    arm(
                        roll_out("wrong_instruction", "dit_only", "protocol.instruction=wrong", "videos=false"),
                    ),
                    arm(roll_out("blind", "blind", "videos=false")),
                )
            ),
        ),
    )


def _cameras(config: Mapping[str, Any], run: str) -> tuple[str, ...]:
    """Another simulator's camera, for whoever looks at all: the blind policy does not, nor a policy without a LAM at
    the LAM's frames."""
    if config["camera"] is None or run == "blind":
        return ()
    sides = {"lam": ("lam.cameras",), "dit_only": ("cameras",)}.get(run, ("cameras", "lam.cameras"))
    return tuple(f"data.{side}=[{config['camera']}]" for side in sides)
