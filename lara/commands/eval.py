"""Rolls a policy out on a fixed list of episodes. Interrupt it whenever you like; the same command goes on.

lara eval client.checkpoint=outputs/demo_lara output=outputs/eval_lara
lara eval client.checkpoint=outputs/demo_lara 'protocol.tasks=[drawer-open-v3,door-lock-v3]' output=outputs/eval_two
lara eval client=expert 'protocol.tasks=[drawer-open-v3]' output=outputs/eval_expert
lara eval protocol=mt50_alam client.checkpoint=outputs/my_run output=outputs/eval_mt50

The tasks judged are those that the policy was trained on, unless the protocol names others (mt50_* name all 50); tasks
that it was not trained on are marked in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIG = "eval"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved

    config = resolved(compose(CONFIG, overrides))
    evaluate(config)
    print((Path(config["output"]) / "table.md").read_text())
    return 0


def evaluate(config: dict) -> dict:
    """The evaluation that a resolved conf/eval.yaml describes; returns the dict of summary.json."""
    from importlib import import_module

    # named, not imported: lara knows no simulator, and an installation without one has every other command
    run: Any = import_module("sim_eval.run")
    return run.evaluate(
        benchmark=config["benchmark"]["environment"],
        policy=config["policy"],
        protocol={k: v for k, v in config["protocol"].items() if k != "_target_"},
        output=Path(config["output"]),
        processes=config["processes"],
        videos=config["videos"],
        episode_timeout=config["episode_timeout"],
    )
