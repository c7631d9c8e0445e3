"""Nearest codes, and the two ways of passing a gradient by a quantiser that has none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@torch.no_grad()
def nearest_code(z: Float[Tensor, "*B D"], codebook_KD: Float[Tensor, "K D"]) -> Int[Tensor, "*B"]:
    """Index of the code with the least Euclidean distance to each vector; the first of several equals.

    |z - c|^2 = |z|^2 - 2 z'c + |c|^2, of which |z|^2 is the same for all codes and left out.
    """
    return (codebook_KD.square().sum(-1) - 2.0 * (z @ codebook_KD.T)).argmin(dim=-1)


def straight_through(z: Float[Tensor, "*B D"], code: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """The value of `code`; its gradient goes to z unchanged, and none to the code (Bengio et al. 2013)."""
    return z + (code - z).detach()


def rotate_to(z: Float[Tensor, "*B D"], code: Float[Tensor, "*B D"], eps: float = 1e-6) -> Float[Tensor, "*B D"]:
    """The value of `code` as R z * |code| / |z|, R the rotation in the plane of both that turns z onto the code.

    R and the ratio carry no gradient, so the gradient that reaches z is turned back by R and scaled: vectors of one
    cell are not all moved alike, but by where each lies around the code (the rotation trick, Fifty et al. 2024, section
    4.2; R z is computed from two reflections, without the D x D matrix).
    """
    length_z = z.norm(dim=-1, keepdim=True)
    length_code = code.norm(dim=-1, keepdim=True)
    u = (z / length_z.clamp(min=eps)).detach()
    q = (code / length_code.clamp(min=eps)).detach()
    half = F.normalize(u + q, dim=-1, eps=eps)
    along_half = (z * half).sum(-1, keepdim=True)
    along_u = (z * u).sum(-1, keepdim=True)
    turned: Tensor = (z - 2.0 * along_half * half + 2.0 * along_u * q) * (
        length_code / length_z.clamp(min=eps)
    ).detach()
    return turned
