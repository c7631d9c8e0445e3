"""Trains several latent action models, probes each on the same held-out clips, and puts them side by side.

  lara lams root=outputs/demo/data
  lara lams root=outputs/demo/data 'lams=[lam_alam_tiny,"lam_alam_tiny_without_*"]' output=outputs/alam
  lara lams root=outputs/demo/data 'lams=["lam_lara_tiny","lam_lara_tiny latent=fsq stage.weights.lam.commitment=null"]'
  lara lams root=outputs/demo/data 'seeds=[0,1,2]' 'overrides=["stage.steps=200"]'

Writes lams.md, lams.json and lams.html: pictures of the future per horizon, the laws of composition and reversal, the
degeneration test, action probes, codebooks, cost; baselines in every table. Interrupt it whenever you like; the same
command goes on, and what is finished is not repeated. Logs are in <output>/logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "lams"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved
    from lara.demo.chains import run_chains
    from lara.demo.steps import Runner, Step
    from lara.lams.gather import gather
    from lara.lams.plan import plan
    from lara.lams.report import markdown, write_report

    config = resolved(compose(CONFIG, overrides))
    models = plan(config)
    output = Path(config["output"])
    output.mkdir(parents=True, exist_ok=True)
    runner = Runner(output)
    print(
        f"{len(models)} models, {sum(m.steps for m in models)} steps of training in all, two commands each", flush=True
    )
    run_chains([m.chain for m in models], runner, workers=config["workers"], title="lams")
    family = gather(models, runner.done, config, command=Step(name="lams", arguments=("lams", *overrides)).command)
    write_report(output, family, models, runner.done)
    print(markdown(family))
    print(output / "lams.html")
    return 0
