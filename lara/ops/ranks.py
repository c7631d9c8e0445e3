"""What a tensor function needs from the other processes of a training run.

Whether there are others is asked at every call: modules are built before `accelerate` starts the process group. Every
rank must make the same calls in the same order, with tensors of the same shape; the loop gives all ranks equal shares
of a batch. Nothing here waits for the host.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@torch.no_grad()
def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of every rank's `x`, the same bits on all of them; `x` itself with one rank. No gradient."""
    if ranks() == 1:
        return x
    total = x.contiguous().clone()
    dist.all_reduce(total)
    return total


def gather_rows(x: Tensor) -> Tensor:
    """(n, ...) of every rank -> (ranks * n, ...), rank 0's rows first; `x` itself with one rank.

    Differentiable: a row's gradient is the sum of what all ranks' losses say about it. Of a loss that every rank
    computes from gathered rows alone, each rank therefore gets `ranks()` times its share of the gradient, which DDP's
    mean over ranks turns into the gradient of one process with the whole batch.
    """
    return x if ranks() == 1 else _GatherRows.apply(x)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        # all_gather knows no bool in every backend
        sent = x.contiguous().to(torch.uint8) if x.dtype == torch.bool else x.contiguous()
        parts = [torch.empty_like(sent) for _ in range(ranks())]
        dist.all_gather(parts, sent)
        return torch.cat(parts).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        mine = dist.get_rank() * ctx.rows
        return total[mine : mine + ctx.rows]
