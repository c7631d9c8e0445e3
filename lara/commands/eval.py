"""Rolls a policy out on a fixed list of episodes. Interrupt it whenever you like; the same command goes on.

lara eval client.checkpoint=outputs/demo/lara output=outputs/eval_lara
lara eval client.checkpoint=outputs/demo/lara 'protocol.tasks=[drawer-open-v3,door-lock-v3]' output=outputs/eval_two
lara eval client=expert 'protocol.tasks=[drawer-open-v3]' output=outputs/eval_expert
lara eval protocol=mt50_alam client.checkpoint=outputs/my_run output=outputs/eval_mt50

The tasks judged are those that the policy was trained on, unless the protocol names others (mt50_* name all 50); tasks
that it was not trained on are marked in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONFIG = "eval"


def main(overrides: Sequence[str]) -> int:
    from lara.config.compose import compose, resolved
    from lara.face import evaluate

    evaluate(*overrides)
    print((Path(resolved(compose(CONFIG, overrides))["output"]) / "table.md").read_text())
    return 0
