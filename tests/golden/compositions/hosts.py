"""Golden compositions of the hosts: each family's tiny configuration beside a latent action model, and LoRA twins."""

from __future__ import annotations

from functools import partial

import torch

from lara.config.build import build
from lara.config.compose import choices, compose, resolved
from lara.losses.alignment import RawCosine
from lara.systems.couplings.alignment import Alignment
from lara.systems.lara import Lara
from tests.golden.compositions import Composition
from tests.tiny import ACTION, HORIZON, STATE, tiny_lam

HOSTS = [name.removeprefix("hosts/") for name in choices("experiment") if name.startswith("hosts/")]


def aligned(host: str, *, depth: int = -2, peft: str | None = None) -> Lara:
    """A host as conf/policy/<host>_tiny.yaml describes it, aligned with a tiny LAM at a depth; peft: of conf/peft."""
    sizes = [f"horizon={HORIZON}", f"action_dim={ACTION}", f"state_dim={STATE}"]
    adapters = [] if peft is None else [f"peft={peft}"]
    config = resolved(compose("train", [f"policy={host}_tiny", "data.root=x", *sizes, *adapters]))
    torch.manual_seed(0)
    return Lara(
        policy=build(config["policy"]),
        lam=tiny_lam(),
        coupling=Alignment(objective=RawCosine, depth=depth),
        tuning=build(config["system"].get("tuning")),
    )


COMPOSITIONS = {
    **{host: Composition(partial(aligned, host)) for host in HOSTS},
    "pi05_after_the_last_norm": Composition(partial(aligned, "pi05", depth=0)),
    "pi05_lora": Composition(partial(aligned, "pi05", peft="lora")),
    "groot_n16_expert_lora": Composition(partial(aligned, "groot_n16", peft="expert_lora")),
}
