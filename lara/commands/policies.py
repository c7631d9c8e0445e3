"""Trains several systems, each from data to a policy, rolls all out on the same held-out goals, and puts success,
training cost and inference cost side by side. What is listed may be a pipeline of stages or a single training.

  lara policies root=outputs/demo/data
  lara policies root=outputs/demo/data 'policies=[demo/dit_only,lara/tiny]' output=outputs/two
  lara policies root=D reference=null interventions=null 'policies=[lapa/tiny,"lapa/tiny stages.lam.stage.steps=900"]'

Writes policies.md, policies.json and policies.html. Interrupt it whenever you like: what runs saves and stops, and the
same command goes on. Logs are in <output>/logs. Exit codes as of `lara demo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "policies"


def main(overrides: Sequence[str]) -> int:
    from lara.config.compose import compose, resolved
    from lara.studies.policies import policies
    from lara.studies.what_ran import command_line

    config = resolved(compose(CONFIG, overrides))
    output = Path(config["output"])
    outcome = policies(config, command=command_line("policies", overrides))
    if outcome.finished:
        print((output / "policies.md").read_text())
        print(output / "policies.html")
    return outcome.exit_code
