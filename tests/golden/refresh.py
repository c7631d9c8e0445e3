"""Golden losses: what each composition gives for three steps from a fixed start.

`python -m tests.golden.refresh` (or `make golden`) writes losses.json anew. Do it only when a change was MEANT to move
them, say so in the commit, and look at the diff: a term that should not have moved is the finding.
"""

import json
from pathlib import Path

import torch

from tests.golden.compositions import compositions
from tests.tiny import open_gates

FILE = Path(__file__).with_name("losses.json")
STEPS = 3
COMPOSITIONS = compositions()


def losses(name: str) -> list[dict[str, float]]:
    """The unweighted terms at each of three AdamW steps on one batch."""
    torch.manual_seed(0)
    system = COMPOSITIONS[name].system()
    open_gates(system)
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], lr=1e-2)
    batch = COMPOSITIONS[name].batch()
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
    FILE.write_text(json.dumps({name: losses(name) for name in COMPOSITIONS}, indent=1) + "\n")
    print(f"wrote {FILE}; commit it with the reason")
