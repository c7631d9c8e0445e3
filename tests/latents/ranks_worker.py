"""One process of the trainings that test_ranks compares; writes its system's state. Alone (rank "alone") it is the one
process with the whole batch."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from lara.latents.vq import VQSpace
from lara.types import Losses
from tests.train.toy import WIDTH, run

QUERIES, DIM, CODES, BATCH = 2, 3, 24, 16


class Coded(nn.Module):
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

    def action_terms(self):
        return ()

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

    def after_step(self) -> None:
        pass

    def act(self, observation, *, steps, generator=None):
        raise NotImplementedError


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
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
