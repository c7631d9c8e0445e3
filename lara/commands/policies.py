"""Trains several systems, each from data to a policy, rolls all out on the same held-out goals, and puts success,
training cost and inference cost side by side. What is listed may be a pipeline of stages or a single training.

  lara policies root=outputs/demo/data
  lara policies root=outputs/demo/data 'policies=[demo_dit_only,lara_tiny]' output=outputs/two
  lara policies root=D reference=null interventions=null 'policies=[lapa_tiny,"lapa_tiny stages.lam.stage.steps=900"]'

Writes policies.md, policies.json and policies.html. Interrupt it whenever you like; the same command goes on, and what
is finished is not repeated. Logs are in <output>/logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIG = "policies"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved
    from lara.demo.chains import run_chains
    from lara.demo.steps import Runner, Step
    from lara.policies.gather import gather
    from lara.policies.latency import latencies
    from lara.policies.plan import plan
    from lara.policies.report import markdown, write_report

    config = resolved(compose(CONFIG, overrides))
    entries = plan(config)
    output = Path(config["output"])
    output.mkdir(parents=True, exist_ok=True)
    runner = Runner(output)
    steps = sum(sum(e.chain.logs.values()) for e in entries)
    print(f"{len(entries)} policies, {steps} steps of training in all, then roll-outs", flush=True)
    run_chains([e.chain for e in entries], runner, workers=config["workers"], title="policies")
    record = gather(
        entries,
        config,
        done=runner.done,
        flops={e.name: _flops(e.stages.values()) for e in entries},
        latency=latencies(entries, output, chunks=config["chunks"]),
        command=Step(name="policies", arguments=("policies", *overrides)).command,
    )
    write_report(output, record, entries, runner.done)
    print(markdown(record))
    print(output / "policies.html")
    return 0


def _flops(configs: Any) -> float:
    """Of all trainings together, counted over a traced step of each."""
    from lara.commands.footprint import measure

    return float(sum(m.flops * m.steps for m in map(measure, configs)))
