"""Trains several latent action models, probes each on the same held-out clips, and puts them side by side.

  lara lams root=outputs/demo/data
  lara lams root=outputs/demo/data 'lams=[alam/tiny_lam,"alam/tiny_lam laws=none"]' output=outputs/alam
  lara lams root=outputs/demo/data 'lams=["demo/lam","demo/lam latent=fsq"]'
  lara lams root=outputs/demo/data 'seeds=[0,1,2]' 'overrides=["stage.steps=200"]'

Writes lams.md, lams.json and lams.html: pictures of the future per horizon, the laws of composition and reversal, the
degeneration test, action probes, codebooks, cost; baselines in every table. Interrupt it whenever you like: what runs
saves and stops, and the same command goes on. Logs are in <output>/logs. Exit codes as of `lara demo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "lams"


def main(overrides: Sequence[str]) -> int:
    from lara.config.compose import compose, resolved
    from lara.studies.lams import lams
    from lara.studies.what_ran import command_line

    config = resolved(compose(CONFIG, overrides))
    output = Path(config["output"])
    outcome = lams(config, command=command_line("lams", overrides))
    if outcome.finished:
        print((output / "lams.md").read_text())
        print(output / "lams.html")
    return outcome.exit_code
