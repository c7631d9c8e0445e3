"""Soft vector quantisation: a token becomes a mixture of codes, weighted by how near they are (SoftVQ-VAE, Chen et al.
2025; RotVLA 001, Eqs. 15-16). Continuous, so gradients need no straight-through trick."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.ops.precision import full_precision


class SoftAssignment(NamedTuple):
    """mixture_BTD: sum_k q_k c_k, within the convex hull of the codes. log_q_BTK: log of the weights, <= 0."""

    mixture_BTD: Tensor
    log_q_BTK: Tensor


class SoftVQ(nn.Module):
    """q(k | x) = softmax_k(-|x - c_k| / temperature),   x -> sum_k q(k | x) c_k.

    dim:         D, of tokens and codes.
    codes:       K learned codes, shared by all tokens. They start at length about 1, like the rows of a rotation.
    temperature: > 0, in the unit of the distance |x - c| (not squared). Towards 0 it becomes nearest-code VQ, towards
                 infinity every token becomes the mean code. 0.07 is the SoftVQ release's; RotVLA states none.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, dim: int, codes: int = 1024, temperature: float = 0.07) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(f"SoftVQ needs a temperature above 0, got {temperature}; hard quantisation is VQSpace")
        if codes < 2:
            raise ConfigError(f"SoftVQ needs at least 2 codes to mix, got {codes}")
        self.dim = dim
        self.codes = codes
        self.temperature = temperature
        self.codebook = nn.Parameter(torch.randn(codes, dim) / dim**0.5)

    def forward(self, x_BTD: Float[Tensor, "B T D"]) -> SoftAssignment:
        """In float32 at least: at a low temperature the softmax sees differences of distances that bf16 cannot hold."""
        with full_precision(x_BTD):
            x = x_BTD if x_BTD.dtype == torch.float64 else x_BTD.float()
            codebook = self.codebook.to(x.dtype)
            # the matmul form of cdist loses the small distances, which are the ones that count
            distance_BTK = torch.cdist(x, codebook.expand(len(x), -1, -1), compute_mode="donot_use_mm_for_euclid_dist")
            log_q_BTK = F.log_softmax(-distance_BTK / self.temperature, dim=-1)
            return SoftAssignment(log_q_BTK.exp() @ codebook, log_q_BTK)
