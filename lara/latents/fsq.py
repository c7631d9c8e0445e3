"""Finite scalar quantisation: each of a few channels is bounded and rounded to its own number of levels (Mentzer et al.
2023, arXiv 2309.15505). There is no codebook to learn or to collapse, and no loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from lara.errors import ConfigError
from lara.latents.space import Bottleneck
from lara.losses.quantization import code_usage
from lara.ops.precision import full_precision


class FSQSpace(nn.Module):
    """R^dim; K = product of levels implicit codes.

    dim:    D. Where it is not len(levels), linear maps lead into the channels and out again.
    levels: of each channel, at least 3 each. [5, 5, 5] has 125 codes, as many as LARA's 128.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, dim: int = 32, levels: Sequence[int] = (5, 5, 5)) -> None:
        super().__init__()
        if not levels or min(levels) < 3:
            raise ConfigError(f"FSQ needs at least one channel and 3 levels in each, got levels={list(levels)}")
        self.dim = dim
        self.codes = math.prod(levels)
        # return_indices=False: the library would list all codes at construction; indices are computed where wanted
        self.quantizer = FSQ(levels=list(levels), dim=dim, return_indices=False)

    def terms(self) -> tuple[str, ...]:
        return ()

    def project(self, raw_BQD: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q D"]:
        """All of R^D is allowed."""
        return raw_BQD

    def bottleneck(self, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, "B"]) -> Bottleneck:
        """The rounded latent with the straight-through gradient of the rounding. Masked samples go through as zeros."""
        with full_precision(z_BQD):
            z = torch.where(mask_B[:, None, None], z_BQD.float(), 0.0)
            channels_BQC = self.quantizer.quantize(self.quantizer.project_in(z))
            indices_BQ = self.quantizer.codes_to_indices(channels_BQC.detach())
            out = self.quantizer.project_out(channels_BQC)
            return Bottleneck(out.to(z_BQD.dtype), {}, code_usage(indices_BQ, mask_B, self.codes))

    @torch.no_grad()
    def encode(self, z_BQD: Float[Tensor, "B Q D"]) -> Int[Tensor, "B Q"]:
        """Index of the code of each query, 0 <= index < K."""
        with full_precision(z_BQD):
            channels = self.quantizer.quantize(self.quantizer.project_in(z_BQD.float()))
            return self.quantizer.codes_to_indices(channels).long()

    def lookup(self, indices_BQ: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        with full_precision(self.quantizer._levels):
            return self.quantizer.indices_to_codes(indices_BQ)
