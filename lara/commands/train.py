"""Trains one stage of one system, or the stages of an experiment that lists several, one after the other, each into a
folder of its own below the output (labelling with `lara label` may be one of them). Interrupt it whenever you like; the
same command goes on where it was, bit for bit.

lara train experiment=demo_dit_only data.root=outputs/demo/data
lara train experiment=rotvla_tiny data.root=outputs/demo/data
lara train experiment=lara_pretrain data.root=PATH policy.backbone.path=VLM stage.load.lam=outputs/lara_lam_pretrain
accelerate launch -m lara.cli train experiment=... runtime=ddp        (several GPUs or nodes)
"""

from __future__ import annotations

from collections.abc import Sequence

from lara.commands.label import write_labels

CONFIG = "train"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved
    from lara.launch import launch
    from lara.stages import stage_commands, stage_configs

    stages = stage_commands(overrides)
    for number, (name, config) in enumerate(stage_configs(stages).items(), 1):
        print(f"[stage {number} of {len(stages)}: {name}] {config['output']}", flush=True)
        if stages[name].command == "label":
            write_labels(config)
        elif not launch(config).finished:
            return 0  # stopped by a signal; the same command goes on here
    if not stages:
        launch(resolved(compose(CONFIG, overrides)))
    return 0
