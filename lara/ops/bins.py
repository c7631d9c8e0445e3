"""Continuous numbers as whole ones, for policies that read the state as text."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def to_bins(x: Float[Tensor, "*n"], bins: int = 256) -> Int[Tensor, "*n"]:
    """The bin of each number among `bins` equal ones on [-1, 1]; bin k holds [-1 + 2k/bins, -1 + 2(k+1)/bins).

    1 and above are in the last bin; below -1 the answer is -1, a number of its own, as in pi0.5 (its code's
    digitize(x, linspace(-1, 1, bins + 1)[:-1]) - 1), whose checkpoints have learned to read it.
    """
    edges = torch.linspace(-1.0, 1.0, bins + 1, dtype=torch.float64, device=x.device)[:-1]
    return torch.bucketize(x.double(), edges, right=True) - 1


def bin_centres(bins_n: Int[Tensor, "*n"], bins: int = 256) -> Float[Tensor, "*n"]:
    """The middle of each bin, within 1 / bins of what `to_bins` was given on [-1, 1]."""
    return (bins_n.to(torch.get_default_dtype()) + 0.5) * (2.0 / bins) - 1.0
