"""Collects demonstrations in a real simulator, trains a latent action model, then a policy without it (DiT-only) and
one with it (LARA) from the same seed and data, and rolls both out on goals that neither has seen, beside two controls:
a policy without a camera, and one that is given another task's instruction. Ends with report.html, summary.json (the
results) and cost.json (what they took).

Interrupt it whenever you like: what runs saves and stops, and the same command goes on. Exit codes: 0 finished, 130
and 143 stopped by Ctrl-C or SIGTERM, 75 stopped by minutes=..., 2 failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "demo"


def main(overrides: Sequence[str]) -> int:
    import json

    from lara.config.compose import compose, resolved
    from lara.studies.demo import demo

    config = resolved(compose(CONFIG, overrides))
    output = Path(config["output"])
    outcome = demo(config)
    if outcome.finished:
        print()
        for name, row in json.loads((output / "summary.json").read_text())["policies"].items():
            rate, low, high = (100 * row[k] for k in ("success_rate", "low", "high"))
            print(f"{name:18} {rate:5.1f} %  [{low:.1f}, {high:.1f}]  n = {row['episodes']}")
        print(f"\nopen {output / 'report.html'}")
    return outcome.exit_code
