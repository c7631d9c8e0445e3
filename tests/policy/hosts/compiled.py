"""A host's loss and gradients with and without torch.compile: python -m tests.policy.hosts.compiled pi0"""

from __future__ import annotations

import sys

import torch
import torch._inductor.config

from lara.losses.flow import velocity_mse
from tests.policy.hosts.contract import flow
from tests.policy.hosts.tiny_native import tiny_host
from tests.tiny import tiny_batch


def main(name: str) -> None:
    torch._inductor.config.fallback_random = True  # the same noise and times as without the compiler
    batch = tiny_batch(3)

    def answer(compiled: bool):
        host = tiny_host(name, layers=2)
        if compiled:
            host.flow = torch.compile(host.flow)
        out = flow(host, batch)
        loss = velocity_mse(out.velocity, out.target, batch.action_mask_BHA) + out.states["block_1"].square().mean()
        loss.backward()
        return loss.detach(), {n: p.grad for n, p in host.named_parameters() if p.grad is not None}

    (plain, gradients), (compiled, others) = answer(False), answer(True)
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == others.keys()
    # 1 - tau is rounded once more or once less where it is fused, which moves the fastest wave of the time by 1e-4
    for key, gradient in gradients.items():
        off, size = (others[key] - gradient).norm(), gradient.norm()
        assert off <= 1e-3 * size + 1e-6, f"{key}: gradients differ by {off:.1e} of {size:.1e}"


if __name__ == "__main__":
    main(*sys.argv[1:])
