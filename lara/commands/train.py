"""Trains one stage of one system. Interrupt it whenever you like; the same command goes on where it was, bit for bit.

lara train experiment=demo_dit_only data.root=outputs/demo/data
lara train experiment=lara_pretrain data.root=PATH policy.backbone.path=VLM stage.load.lam=outputs/lara_lam_pretrain
accelerate launch -m lara.cli train experiment=... runtime=ddp        (several GPUs or nodes)
"""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = "train"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved
    from lara.launch import launch

    launch(resolved(compose(CONFIG, overrides)))
    return 0
