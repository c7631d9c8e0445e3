"""Reads a dataset as training would: verifies files, lengths and numbers, builds the frame cache, computes statistics.

lara check experiment=demo/lara data.root=data/two
"""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = "train"


def main(overrides: Sequence[str]) -> int:
    from lara.config.compose import compose, resolved
    from lara.launch import build_data, with_embodiments

    config = resolved(compose(CONFIG, overrides))
    data = build_data(with_embodiments(config))
    data.prepare()
    card = data.card()
    root, instructions = config["data"]["root"], card.instructions
    print(f"{root}: {len(data)} training samples of {card.robot.name}, {len(instructions)} instructions")
    for text in instructions:
        print(f"  {text}")
    actions, state = card.robot.action.names, card.robot.observation.state
    print(f"actions: {_listed(actions) or 'none: for stages that learn from frames and words (a LAM, RotVLA II)'}")
    print(f"state: {_listed(state) or 'none'}")
    return 0


def _listed(names: Sequence[str], most: int = 16) -> str:
    """ "2 (x, y)"; a latent has too many numbers to name them all."""
    more = ", ..." if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})" if names else ""
