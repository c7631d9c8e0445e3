"""Runs scripted experts and records what they do. Interrupt it whenever you like; the same command goes on.

lara collect benchmark=metaworld 'tasks=[drawer-open-v3,door-lock-v3]' episodes=30 output=data/two
"""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = "collect"


def main(overrides: Sequence[str]) -> int:
    from lara.config.build import build
    from lara.config.compose import compose, resolved
    from lara.data.collect import collect

    config = resolved(compose(CONFIG, overrides))
    collect(
        **{
            key: config[key]
            for key in ("demonstrator", "tasks", "episodes", "seed", "output", "fps", "processes", "keep_failures")
        },
        storage=build(config["storage"], "data"),
    )
    print(f"{config['output']}: {config['episodes']} episodes of each of {len(config['tasks'])} tasks")
    return 0
