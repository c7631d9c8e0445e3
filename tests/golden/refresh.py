"""Golden losses: what each composition gives for three steps from a fixed start.

`python -m tests.golden.refresh` (or `make golden`) writes losses.json and hosts.json anew. Do it only when a change was
MEANT to move them, say so in the commit, and look at the diff: a term that should not have moved is the finding.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from lara.losses.alignment import CentredCosine, InfoNCE
from lara.systems.lara import Lara
from tests.golden import hosts
from tests.tiny import open_gates, tiny_batch, tiny_lam, tiny_policy, tiny_system

FILE = Path(__file__).with_name("losses.json")
HOSTS_FILE = FILE.with_name("hosts.json")
STEPS = 3
SYSTEMS = {
    "lam_only": lambda: Lara(lam=tiny_lam()),
    "dit_only": lambda: Lara(policy=tiny_policy()),
    "lara": tiny_system,
    "lara_two_draws": lambda: tiny_system(draws=2),
    "lara_half_batch": lambda: tiny_system(fraction=0.5),
    "lara_centred": lambda: tiny_system(objective=CentredCosine),
    "lara_infonce": lambda: tiny_system(objective=InfoNCE),
    "lara_floor": lambda: tiny_system(floor=1.0),
    "lara_ema_target": lambda: tiny_system(target="ema"),
    "lara_last_layer_mean_pool": lambda: tiny_system(depth=0, pool="mean", projector_layers=2),
}
FILES: dict[Path, Mapping[str, Callable[[], Any]]] = {FILE: SYSTEMS, HOSTS_FILE: hosts.SYSTEMS}


def losses(make: Callable[[], Any]) -> list[dict[str, float]]:
    """The unweighted terms at each of three AdamW steps on one batch."""
    torch.manual_seed(0)
    system = make()
    open_gates(system)
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], lr=1e-2)
    batch = tiny_batch()
    rows = []
    for step in range(STEPS):
        torch.manual_seed(step)
        terms = system.losses(batch, frozenset(system.terms())).terms
        rows.append({k: v.item() for k, v in terms.items()})
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        system.after_step()
    return rows


if __name__ == "__main__":
    for file, systems in FILES.items():
        file.write_text(json.dumps({name: losses(make) for name, make in systems.items()}, indent=1) + "\n")
        print(f"wrote {file}; commit it with the reason")
