"""What keeps a codebook and an encoder together, and figures that tell whether the codebook is in use.

B samples, Q queries, D dims, K codes. mask_B is False for samples that are not real; they count nowhere.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lara.ops.masks import masked_mean, masked_mse


def commitment(
    z_BQD: Float[Tensor, "B Q D"], code_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """mean |z - sg(code)|^2 over components: moves the encoder (van den Oord et al. 2017, Eq. 3, third term)."""
    return masked_mse(z_BQD, code_BQD.detach(), mask_B[:, None, None])


def codebook(
    z_BQD: Float[Tensor, "B Q D"], code_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """mean |sg(z) - code|^2 over components: moves the codes (the same equation, second term)."""
    return masked_mse(z_BQD.detach(), code_BQD, mask_B[:, None, None])


def soft_kl(log_q_BQK: Float[Tensor, "B Q K"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """KL(mean q || uniform) + mean H(q), in [0, 2 log K] nats: SoftVQ's KL (Chen et al. 2025; RotVLA 001, Eq. 20).

    It is mean H(q) - H(mean q), as the SoftVQ release computes it, plus the constant log K that makes it >= 0. It is 0
    when every token chooses one code and all codes are chosen equally often; KL(q || uniform) token by token would
    instead be smallest where all tokens are the same mixture, which says nothing.
    0 with zero gradient where no sample is real.
    """
    codes = log_q_BQK.shape[-1]
    q_BQK = log_q_BQK.exp()
    entropy = masked_mean(-(q_BQK * log_q_BQK).sum(-1), mask_B[:, None])
    mean_K = _mean_assignment(q_BQK, mask_B)
    to_uniform = torch.xlogy(mean_K, mean_K * codes + torch.finfo(mean_K.dtype).tiny).sum()
    return entropy + to_uniform


@torch.no_grad()
def soft_perplexity(log_q_BQK: Float[Tensor, "B Q K"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """exp of the entropy of the mean assignment, in [1, K]: how many codes the batch mixes from (1 if empty)."""
    mean_K = _mean_assignment(log_q_BQK.exp(), mask_B)
    return torch.exp(-torch.xlogy(mean_K, mean_K).sum())


@torch.no_grad()
def soft_hardness(log_q_BQK: Float[Tensor, "B Q K"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean of the largest weight of a token, in [1/K, 1]: near 1 the soft codebook is a hard one, and its codes get
    no gradient from each other's tokens."""
    return masked_mean(log_q_BQK.amax(-1).exp(), mask_B[:, None])


@torch.no_grad()
def code_usage(indices_BQ: Int[Tensor, "B Q"], mask_B: Bool[Tensor, " B"], codes: int) -> dict[str, Tensor]:
    """perplexity: exp(-sum p log p) of the batch's codes, in [1, K] (1 when it is empty). used_codes: how many of the K
    occur in it."""
    counts = torch.zeros(codes, device=indices_BQ.device)
    weight_BQ = mask_B[:, None].expand(indices_BQ.shape).to(counts.dtype)
    counts = counts.scatter_add(0, indices_BQ.long().flatten(), weight_BQ.flatten())
    p = counts / counts.sum().clamp(min=1)
    return {"perplexity": torch.exp(-torch.xlogy(p, p).sum()), "used_codes": (counts > 0).sum().float()}


def _mean_assignment(q_BQK: Tensor, mask_B: Tensor) -> Tensor:
    real = torch.where(mask_B[:, None, None], q_BQK, torch.zeros_like(q_BQK))
    return real.sum((0, 1)) / (mask_B.sum() * q_BQK.shape[1]).clamp(min=1)
