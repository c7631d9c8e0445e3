"""Asks a run's latent action model, on held-out episodes, whether its latents mean anything; with baselines beside.

  lara probe checkpoint=outputs/demo/lam output=outputs/probe_demo
  lara probe checkpoint=outputs/my_run output=outputs/probe probe=[linear,algebra] clips=1024
  lara probe checkpoint=outputs/moto data_of=outputs/my_run output=outputs/probe_moto

Writes probes.json and probes.html (one page, nothing beside it). A probe that does not apply to this model (codes of a
space without codes, say) is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "probe"


def main(overrides: Sequence[str]) -> int:
    from lara.config.compose import compose, resolved
    from lara.probes.run import probe

    config = resolved(compose(CONFIG, overrides))
    found = probe(config)
    for name in found.results:
        print(f"{name:12} done")
    for name, reason in found.reasons.items():
        print(f"{name:12} does not apply: {reason}")
    print(Path(config["output"]) / "probes.html")
    return 0 if found.results else 1
