"""Finite scalar quantisation: each of a few channels is bounded and rounded to its own number of levels (Mentzer et al.
2023, arXiv 2309.15505). There is no codebook to learn or to collapse, and no loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.latents.codes import CodeSpace
from lara.latents.space import Bottleneck, LatentSpace
from lara.losses.quantization import code_usage
from lara.ops.precision import full_precision
from lara.ops.quantize import straight_through


class FSQSpace(LatentSpace):
    """R^dim; K = product of levels implicit codes.

    Args:
        dim: D. Where it is not len(levels), linear maps lead into the channels and out again.
        levels: of each channel, at least 3 each. [5, 5, 5] has 125 codes, as many as LARA's 128.
    """

    buildable: ClassVar[str] = "model"
    fixed_points = False  # out of the channels and in again is no identity

    def __init__(self, *, dim: int = 32, levels: Sequence[int] = (5, 5, 5)) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ConfigError(f"FSQ needs at least one channel and 3 levels in each, got levels={list(levels)}")
        self.dim = dim
        self.codes = math.prod(levels)
        self.quantizer = Channels(dim=dim, levels=list(levels))

    def coder(self) -> CodeSpace:
        return self

    def bottleneck(self, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """The rounded latent with the straight-through gradient of the rounding. Masked samples go through as zeros."""
        with full_precision(z_BQD):
            z = torch.where(mask_B[:, None, None], z_BQD.float(), 0.0)
            channels_BQC = self.quantizer.round(self.quantizer.project_in(z))
            indices_BQ = self.quantizer.index(channels_BQC.detach())
            out = self.quantizer.project_out(channels_BQC)
            return Bottleneck(out.to(z_BQD.dtype), {}, code_usage(indices_BQ, mask_B, self.codes))

    @torch.no_grad()
    def encode(self, z_BQD: Float[Tensor, "B Q D"]) -> Int[Tensor, "B Q"]:
        """Index of the code of each query, 0 <= index < K."""
        with full_precision(z_BQD):
            channels = self.quantizer.round(self.quantizer.project_in(z_BQD.float()))
            return self.quantizer.index(channels)

    def lookup(self, indices_BQ: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        with full_precision(indices_BQ):
            codes: Tensor = self.quantizer.project_out(self.quantizer.values(indices_BQ))
            return codes


class Channels(nn.Module):
    """C channels of L_c levels each, evenly spaced around 0 (to both ends of [-1, 1] where L_c is odd)."""

    levels: Tensor
    base: Tensor

    def __init__(self, *, dim: int, levels: list[int]) -> None:
        super().__init__()
        mapped = dim != len(levels)
        self.project_in = nn.Linear(dim, len(levels)) if mapped else nn.Identity()
        self.project_out = nn.Linear(len(levels), dim) if mapped else nn.Identity()
        # place values of the mixed-radix number that an index is, the first channel the lowest
        base = [math.prod(levels[:c]) for c in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("base", torch.tensor(base), persistent=False)

    def round(self, x_BQC: Float[Tensor, "B Q C"]) -> Float[Tensor, "B Q C"]:
        """Bounded by tanh to just beyond the outer levels, then rounded, straight through. The constants are those of
        Mentzer et al. 2023, appendix A.1."""
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        bounded = torch.tanh(x_BQC + torch.atanh(offset / half)) * half - offset
        return straight_through(bounded, bounded.round()) / (self.levels // 2)

    def index(self, channels_BQC: Float[Tensor, "B Q C"]) -> Int[Tensor, "B Q"]:
        digits = (channels_BQC * (self.levels // 2) + self.levels // 2).round().long()
        return (digits * self.base).sum(dim=-1)

    def values(self, indices_BQ: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q C"]:
        digits = (indices_BQ[..., None] // self.base) % self.levels
        return (digits - self.levels // 2) / (self.levels // 2)
