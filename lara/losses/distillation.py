"""A student's latents against a teacher's (LatBot 002, Eq. 4). The teacher's side carries no gradient."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lara.ops.masks import masked_mean


def latent_mse(
    student_BQD: Float[Tensor, "B Q D"], teacher_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean squared error over tokens, dims and real samples (Eq. 4, first term, there a sum)."""
    error = (student_BQD.float() - teacher_BQD.detach().float()).square()
    return masked_mean(error, mask_B[:, None, None])


def latent_kl(
    student_BQD: Float[Tensor, "B Q D"],
    teacher_BQD: Float[Tensor, "B Q D"],
    mask_B: Bool[Tensor, " B"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """KL(p(z_hat) || p(z)) in nats, averaged over tokens and real samples (Eq. 4, second term).

    The paper does not say what p is. Here each token is a categorical distribution over its D components,

        p(z)_d = exp(z_d / temperature) / sum_e exp(z_e / temperature),

    on both sides; the student's stands first, as written, so that it is drawn to the teacher's likeliest components. It
    is blind to a constant added to all components of a token, which `latent_mse` sees.
    """
    student = F.log_softmax(student_BQD.float() / temperature, dim=-1)
    teacher = F.log_softmax(teacher_BQD.detach().float() / temperature, dim=-1)
    divergence_BQ = (student.exp() * (student - teacher)).sum(dim=-1)
    return masked_mean(divergence_BQ, mask_B[:, None])
