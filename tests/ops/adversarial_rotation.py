"""Matrices on which a projection to SO(N) likes to break, and a check that ours does not.

python -m tests.ops.adversarial_rotation 1000000      # the long run
"""

from __future__ import annotations

import sys
from collections import Counter

import torch
from torch import Tensor

from lara.ops.rotation import project_to_son

SIZES = (2, 3, 5, 8, 16, 32)
SCALES = (1e-30, 1e-12, 1e-3, 1.0, 1e3, 1e12, 1e30)


def _orthogonal(n: int, size: int, g: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(n, size, size, generator=g))[0]


def _spectrum(n: int, s: Tensor, g: torch.Generator, *, det: int) -> Tensor:
    """Matrices with the given singular values and sign of the determinant of UV'."""
    u, v = _orthogonal(n, s.shape[-1], g), _orthogonal(n, s.shape[-1], g)
    wrong = torch.linalg.det(u @ v.mT).sign() != det
    u[:, :, -1] = torch.where(wrong[:, None], -u[:, :, -1], u[:, :, -1])
    return (u * s[..., None, :]) @ v.mT


def families(n: int, size: int, g: torch.Generator) -> dict[str, Tensor]:
    """n matrices of each kind, (n, size, size) float32, of scale 1."""
    eye = torch.eye(size).expand(n, size, size)
    reflection = eye.clone()
    reflection[:, -1, -1] = -1
    ones = torch.ones(size)
    rank = torch.randint(0, size + 1, (n, 1), generator=g)
    low_rank = (torch.arange(size) < rank).float() * (0.1 + torch.rand(n, size, generator=g))
    tied = (1 + torch.randint(0, 2, (n, size), generator=g)).float().sort(-1, descending=True).values
    flat = (torch.arange(size) < size - 2).float() + 1e-4
    flat = (flat / flat.max()).expand(n, size)
    noise = 1e-7 * torch.randn(n, size, size, generator=g)
    return {
        "I": eye,
        "-I": -eye,
        "0": torch.zeros(n, size, size),
        "reflection": reflection,
        "constant": torch.ones(n, size, size),
        "one entry": torch.nn.functional.one_hot(torch.randint(0, size * size, (n,), generator=g), size * size)
        .view(n, size, size)
        .float(),
        "permutation": eye[:, torch.randperm(size, generator=g)],
        "gaussian": torch.randn(n, size, size, generator=g),
        "every rank": _spectrum(n, low_rank, g, det=1),
        "every rank, det < 0": _spectrum(n, low_rank, g, det=-1),
        "ties": _spectrum(n, tied, g, det=1),
        "ties, det < 0": _spectrum(n, tied, g, det=-1),
        "smallest two tied, det < 0": _spectrum(n, flat, g, det=-1),
        "all tied, det < 0": _spectrum(n, ones, g, det=-1),
        "rotation + 1e-7": _spectrum(n, ones, g, det=1) + noise,
        "reflection + 1e-7": _spectrum(n, ones, g, det=-1) + noise,
        "skew": (lambda a: a - a.mT)(torch.randn(n, size, size, generator=g)),
        "graded": _spectrum(n, 10.0 ** -torch.linspace(0, 12, size), g, det=1),
    }


def run(count: int, seed: int = 0) -> dict[str, float]:
    """About `count` matrices, forward and backward. How many were not finite, not orthogonal, not of determinant 1, and
    the worst figures met."""
    g = torch.Generator().manual_seed(seed)
    kinds = len(families(1, 2, g))
    per_kind = max(1, min(64, count // (len(SIZES) * len(SCALES) * kinds)))
    tally: Counter[str] = Counter()
    worst = {"orthogonality": 0.0, "determinant": 0.0, "gradient": 0.0}
    while tally["matrices"] < count:
        for size in SIZES:
            for name, matrices in families(per_kind, size, g).items():
                for scale in SCALES:
                    m = (matrices * scale).requires_grad_()
                    r = project_to_son(m)
                    r.backward(torch.randn(r.shape, generator=g))
                    assert m.grad is not None
                    off = (r.detach().mT @ r.detach() - torch.eye(size)).abs().amax((1, 2))
                    det = (torch.linalg.det(r.detach()) - 1).abs()
                    tally["matrices"] += len(m)
                    tally["not finite"] += int((~r.isfinite().all(-1).all(-1)).sum())
                    tally["gradient not finite"] += int((~m.grad.isfinite().all(-1).all(-1)).sum())
                    tally["not orthogonal"] += int((~(off < 1e-5)).sum())
                    tally["determinant not 1"] += int((~(det < 1e-4)).sum())
                    tally[f"failed: {name}"] += int((~((off < 1e-5) & (det < 1e-4))).sum())
                    worst["orthogonality"] = max(worst["orthogonality"], off.max().item())
                    worst["determinant"] = max(worst["determinant"], det.max().item())
                    # the gradient goes with 1 / size of the matrix; without that, the floor on s_i + s_j bounds it
                    size_of = m.detach().double().abs().amax((1, 2), keepdim=True)
                    relative = m.grad.double() * torch.where(size_of > 0, size_of, 1.0)
                    worst["gradient"] = max(worst["gradient"], relative.abs().max().item())
    return {**{k: v for k, v in tally.items() if v or not k.startswith("failed")}, **worst}


if __name__ == "__main__":
    for key, value in run(int(sys.argv[1])).items():
        print(f"{key:24} {value:.3g}" if isinstance(value, float) else f"{key:24} {value}")
