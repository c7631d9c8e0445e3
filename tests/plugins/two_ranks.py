"""One rank of two: an attached policy under DDP, a step on this rank's own samples.

python -m tests.plugins.two_ranks RANK STORE OUT.safetensors
"""

import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

import lara
from lara.latents.additive import AdditiveSpace
from tests.plugins.strangers import WIDTH, frames, inputs, stranger
from tests.tiny import tiny_lam


def model():
    # without a codebook, whose moving averages the ranks share on purpose: gradients through it are no mean
    return lara.attach(stranger(), tiny_lam(space=AdditiveSpace(dim=8, quantizer=None)), tap="layers.1", width=WIDTH)


def gradients(module, rank: int) -> dict[str, torch.Tensor]:
    """Of one step on the samples of a rank; its noise is the rank's own, too."""
    module.train()
    torch.manual_seed(rank)
    module(*inputs(seed=rank), lara=frames(seed=rank)).backward()
    named = ((n.removeprefix("module."), p) for n, p in module.named_parameters())
    return {n: p.grad.clone() for n, p in named if p.grad is not None}


def main(rank: int, store: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    save_file(gradients(DistributedDataParallel(model()), rank), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:4])
