"""Collects demonstrations in a real simulator, trains a latent action model, then a policy without it (DiT-only) and
one with it (LARA) from the same seed and data, and rolls both out on goals that neither has seen, beside two controls:
a policy without a camera, and one that is told the wrong thing. Ends with report.html and summary.json.

Interrupt it whenever you like; the same command goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "demo"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved
    from lara.demo.report import write_report
    from lara.demo.run import plan, run

    config = resolved(compose(CONFIG, overrides))
    output = Path(config["output"])
    steps = plan(config)
    runner = run(steps, output)
    summary = write_report(output, config, steps, runner.done)
    print()
    for name, row in summary["policies"].items():
        rate, low, high = (100 * row[k] for k in ("success_rate", "low", "high"))
        print(f"{name:18} {rate:5.1f} %  [{low:.1f}, {high:.1f}]  n = {row['episodes']}")
    print(f"\nopen {output / 'report.html'}")
    return 0
