"""How close the policy's projected state p = f(h) is to the latent action z (003, Eq. 6), and what keeps it honest.

`raw_cosine` is the paper's. It can be won without meaning: both sides may move to one common direction (see
ops.similarity for the figures that show it). The others take that exit away:

    centred_cosine   cosine after a running mean of each side is removed; a common direction scores nothing
    InfoNCE          p_i must find its own z_i among the batch's
    variance_floor   a hinge on the standard deviation of each dim of z (VICReg, Bardes et al. 2022)

B samples, D = Q * D_query dims. Every function takes the (B,) mask of samples whose frames and actions are real.
Objectives are made with `dim` = D, which only those with statistics use.

Where gradients are taken, the batch is that of all ranks: negatives, means and deviations are gathered, so that every
rank computes the loss of one process with the whole batch. Without gradients (validation, which gives every rank the
same batches) each rank judges its own.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.ops.masks import masked_mean
from lara.ops.ranks import gather_rows
from lara.ops.similarity import cosine


class RawCosine(nn.Module):
    """mean of 1 - cos(z, p): in [0, 2], the same gradient as the paper's -cos."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, dim: int) -> None:
        super().__init__()

    def forward(
        self, z_BD: Float[Tensor, "B D"], p_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        z_BD, p_BD, mask_B = _of_all_ranks(z_BD, p_BD, mask_B)
        return masked_mean(1.0 - cosine(z_BD, p_BD), mask_B)


class CentredCosine(nn.Module):
    """mean of 1 - cos(z - mean z, p - mean p), with running means that carry no gradient."""

    buildable: ClassVar[str] = "model"

    mean_z: Tensor
    mean_p: Tensor
    seen: Tensor

    def __init__(self, *, dim: int, momentum: float = 0.95) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean_z", torch.zeros(dim))
        self.register_buffer("mean_p", torch.zeros(dim))
        self.register_buffer("seen", torch.zeros(()))

    def forward(
        self, z_BD: Float[Tensor, "B D"], p_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        z_BD, p_BD, mask_B = _of_all_ranks(z_BD, p_BD, mask_B)
        if self.training:
            self._follow(z_BD.detach(), p_BD.detach(), mask_B)
        # bias correction, as in Adam: early on the running mean is mostly its zero start
        correction = (1.0 - self.momentum**self.seen).clamp(min=1e-6)
        return masked_mean(1.0 - cosine(z_BD - self.mean_z / correction, p_BD - self.mean_p / correction), mask_B)

    @torch.no_grad()
    def _follow(self, z_BD: Tensor, p_BD: Tensor, mask_B: Tensor) -> None:
        n = mask_B.sum()
        # a batch without real samples moves nothing
        weight = (1.0 - self.momentum) * (n > 0)
        for running, x in ((self.mean_z, z_BD), (self.mean_p, p_BD)):
            batch_mean = (x.float() * mask_B[:, None]).sum(0) / n.clamp(min=1)
            running.lerp_(batch_mean, weight)
        self.seen += n > 0


class InfoNCE(nn.Module):
    """Cross-entropy of finding z_i for p_i and p_i for z_i among the batch's real samples (CLIP's symmetric form)."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, dim: int, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self, z_BD: Float[Tensor, "B D"], p_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        z_BD, p_BD, mask_B = _of_all_ranks(z_BD, p_BD, mask_B)
        scores = F.normalize(p_BD.float(), dim=-1) @ F.normalize(z_BD.float(), dim=-1).T / self.temperature
        blocked = ~mask_B[None, :] & ~torch.eye(len(mask_B), dtype=torch.bool, device=mask_B.device)
        own = torch.arange(len(mask_B), device=mask_B.device)
        forward = F.cross_entropy(scores.masked_fill(blocked, -1e4), own, reduction="none")
        backward = F.cross_entropy(scores.T.masked_fill(blocked, -1e4), own, reduction="none")
        return masked_mean(0.5 * (forward + backward), mask_B)


def variance_floor(z_BD: Float[Tensor, "B D"], mask_B: Bool[Tensor, " B"], *, floor: float) -> Float[Tensor, ""]:
    """mean over dims of max(0, floor - std of that dim over the batch): 0 once every dim varies enough."""
    z_BD, mask_B = _of_all_ranks(z_BD, mask_B)
    z = z_BD.float() * mask_B[:, None]
    n = mask_B.sum().clamp(min=2)
    mean = z.sum(0) / n
    variance = ((z - mean).square() * mask_B[:, None]).sum(0) / (n - 1)
    return F.relu(floor - torch.sqrt(variance + 1e-4)).mean()


def _of_all_ranks(*rows: Tensor) -> tuple[Tensor, ...]:
    return tuple(gather_rows(x) for x in rows) if torch.is_grad_enabled() else rows
