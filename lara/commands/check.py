"""Reads a dataset as training would: verifies files, lengths and numbers, builds the frame cache, computes statistics.

lara check experiment=demo_lara data.root=data/two
"""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = "train"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved
    from lara.launch import build_data, with_embodiment

    config = resolved(compose(CONFIG, overrides))
    data = build_data(with_embodiment(config))
    data.prepare()
    card = data.card()
    root, instructions = config["data"]["root"], card.instructions
    print(f"{root}: {len(data)} training samples of {card.robot.name}, {len(instructions)} instructions")
    for text in instructions:
        print(f"  {text}")
    return 0
