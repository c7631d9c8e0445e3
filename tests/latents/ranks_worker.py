"""One process of what test_ranks compares; writes its system's state, and the objectives' losses and gradients.
Alone (rank "alone") it is the one process with the whole batch."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from lara.latents.vq import VQSpace
from lara.losses.alignment import CentredCosine, InfoNCE, RawCosine, variance_floor
from lara.ops.ranks import ranks
from lara.systems.system import System
from lara.types import Losses
from tests.train.toy import WIDTH, run

QUERIES, DIM, CODES, BATCH = 2, 3, 24, 16


class Coded(System):
    """A linear encoder, a codebook that lives on less data than it has codes (so that codes die all the time), a linear
    decoder. In float64: a nearest code that flips by rounding would make two runs differ by more than rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(WIDTH, QUERIES * DIM)
        self.space = VQSpace(dim=DIM, codes=CODES, decay=0.8, revive_below=1.0)
        self.decoder = nn.Linear(QUERIES * DIM, WIDTH)
        self.double()
        self.moved = Counter()

    def parts(self):
        return {"lam.encoder": self.encoder, "lam.space": self.space, "lam.decoder": self.decoder}

    def terms(self):
        return ("lam.reconstruction", "lam.commitment")

    def losses(self, batch, terms) -> Losses:
        x = batch.observation.state_BS.double()
        z = self.encoder(x).unflatten(1, (QUERIES, DIM))
        before = self.space.codebook.clone()
        out = self.space.bottleneck(z, torch.ones(len(x), dtype=torch.bool, device=x.device))
        if self.training:
            # a code that stands on a vector of this batch, to the bit, was put there
            jumped = (self.space.codebook != before).any(1) & (self.space.quantizer._codebook.cluster_size[0] == 1)
            self.moved["revived"] += int(jumped.sum())
        error = (self.decoder(out.z.flatten(1)) - x).square().mean()
        return Losses({"lam.reconstruction": error, "lam.commitment": out.terms["commitment"]}, out.metrics)


def objectives(rank: int | None) -> dict[str, torch.Tensor]:
    """Two steps of every objective on 12 samples, or on a rank's half: of 6 samples 5 are real on rank 0 and 2 on
    rank 1. The gradients of two maps, averaged over ranks as DDP does."""
    g = torch.Generator().manual_seed(0)
    x, h = torch.randn(2, 12, WIDTH, generator=g), torch.randn(2, 12, WIDTH, generator=g)
    mask = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1, 0], dtype=torch.bool)
    mine = slice(None) if rank is None else slice(6 * rank, 6 * rank + 6)
    losses = {kind.__name__: kind(dim=DIM) for kind in (RawCosine, CentredCosine, InfoNCE)}
    out = {}
    for name, loss in {**losses, "floor": lambda z, p, real: variance_floor(z, real, floor=2.0)}.items():
        torch.manual_seed(0)
        to_z, to_p = nn.Linear(WIDTH, DIM), nn.Linear(WIDTH, DIM)
        for step in range(2):
            value = loss(to_z(x[step, mine]), to_p(h[step, mine]), mask[mine])
            value.backward()
            out[f"{name}.{step}"] = value.detach()
        for key, p in {"z": to_z.weight, "p": to_p.weight}.items():
            gradient = torch.zeros_like(p) if p.grad is None else p.grad
            if ranks() > 1:
                torch.distributed.all_reduce(gradient)
            out[f"{name}.{key}"] = gradient / ranks()
        if isinstance(loss, nn.Module):
            out |= {f"{name}.{key}": value for key, value in loss.state_dict().items()}
    return out


def main(root: Path, steps: int, rank: str) -> None:
    torch.set_num_threads(1)
    system = Coded()
    weights = {"lam": {"reconstruction": 1.0, "commitment": 0.25}}
    run(
        root / "run" if rank in ("0", "1") else root / "alone",
        system=system,
        learn=("lam",),
        weights=weights,
        steps=steps,
        batch_size=BATCH,
        save_every=steps,
        validation_limit=0,
        lr=3e-3,
    )
    state = {name: value.contiguous().clone() for name, value in system.state_dict().items()}
    save_file({**state, "revived": torch.tensor(system.moved["revived"])}, root / f"state-{rank}.safetensors")
    save_file(objectives(None if rank == "alone" else int(rank)), root / f"objectives-{rank}.safetensors")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
