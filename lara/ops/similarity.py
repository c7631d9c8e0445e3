"""How alike two sets of vectors are, and whether a set says more than one thing.

A cosine near 1 between two learned sides proves nothing: both may agree on one common direction. The figures below
tell a real alignment from an agreed constant. All are sync-free and safe to log from inside a training step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lara.ops.masks import masked_mean


def cosine(a_BD: Float[Tensor, "B D"], b_BD: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
    """Cosine similarity of each pair, in float32 (bf16 cannot tell 0.99 from 1)."""
    return F.cosine_similarity(a_BD.float(), b_BD.float(), dim=-1, eps=1e-6)


def common_direction(x_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean cosine between DIFFERENT samples, in [-1/(B-1), 1]. Near 1: all vectors are one vector."""
    unit = F.normalize(x_BD.float(), dim=-1) * mask_B[:, None]
    n = mask_B.sum()
    pairs = (n * (n - 1)).clamp(min=1)
    # |sum of unit vectors|^2 = n + sum over ordered pairs of their cosines
    return (unit.sum(0).square().sum() - unit.square().sum()) / pairs


def effective_rank(x_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """Participation ratio tr(C)^2 / tr(C^2) of the centred covariance: 1 = a line, min(B - 1, D) = isotropic.

    This is the spectrum's effective number of dimensions without computing the spectrum (no SVD, no host sync).
    """
    centred = centre(x_BD.float(), mask_B)
    gram = centred @ centred.T
    return gram.diagonal().sum().square() / gram.square().sum().clamp(min=1e-20)


def retrieval(a_BD: Float[Tensor, "B D"], b_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """Share of samples whose a_i is nearer (centred cosine) to its own b_i than to any other b_j; chance is 1/B."""
    a = F.normalize(centre(a_BD.float(), mask_B), dim=-1)
    b = F.normalize(centre(b_BD.float(), mask_B), dim=-1)
    scores = (a @ b.T).masked_fill(~mask_B[None, :], -2.0)
    hit = scores.argmax(dim=1) == torch.arange(len(a), device=a.device)
    return masked_mean(hit.float(), mask_B)


def centre(x_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, "B D"]:
    """x minus its masked mean, zero where masked out."""
    mean = (x_BD * mask_B[:, None]).sum(0) / mask_B.sum().clamp(min=1)
    return (x_BD - mean) * mask_B[:, None]
