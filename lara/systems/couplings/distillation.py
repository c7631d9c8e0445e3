"""LatBot (paper 002), stage 2: a policy's VLM learns to foretell the latents of a frozen latent action model.

    z = teacher(V_t .. V_{t+k}, instruction)      z_hat = student(V_t, instruction)                   (Eqs. 2, 3)
    loss = |z_hat - z|^2 + KL(p(z_hat) || p(z)) + 0.5 * next-token loss on the subtask text           (Eqs. 4-6)

The teacher is stage 1's (`stage.load.lam`), the student the backbone of stage 3's policy. The subtask text is the
dataset's language column, which is also the instruction: where a dataset has no finer one, this term keeps the student
able to write what it reads, and asks for no planning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from lara.errors import ConfigError
from lara.lam.latbot import LatBotLam
from lara.losses.distillation import latent_kl, latent_mse
from lara.ops.masks import masked_mean
from lara.ops.similarity import common_direction
from lara.policy.student import BackboneOnly
from lara.systems.couplings.coupling import Coupling
from lara.systems.objectives.clips import clip
from lara.systems.objectives.objective import LamRead
from lara.types import Batch, Losses

TERMS = ("distill.latent", "distill.kl", "distill.text")


class Distillation(Coupling):
    """policy: a `BackboneOnly` around the student (part "policy.backbone", so that stage 3 loads it from here by that
    name). lam: the teacher.

    Metrics: latent_of_mean, the error of always saying the mean latent of this batch, and common_teacher, the mean
    cosine between the teacher's latents of different samples: near 1 there is nothing to foretell.
    """

    buildable: ClassVar[str] = "model"

    frozen_lam: ClassVar[bool] = True

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def bind(self, policy: Any, lam: Any) -> None:
        if not isinstance(policy, BackboneOnly) or not isinstance(lam, LatBotLam):
            raise ConfigError(
                "distillation needs a teacher and a student (lam=latbot, and system.policy a lara.policy.student."
                f"BackboneOnly); got {type(lam).__name__} and {type(policy).__name__}. To see the teacher, open its "
                "own run"
            )

    def terms(self) -> tuple[str, ...]:
        return TERMS

    def action_terms(self) -> tuple[str, ...]:
        """None: frames and words."""
        return ()

    def losses(
        self, policy: BackboneOnly, lam: LatBotLam, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]
    ) -> Losses:
        words, real = batch.observation.instruction, batch.frame_mask_BF.all(dim=1)
        with torch.no_grad():
            teacher = lam.encode(clip(batch), words).z_BQD
        predicted = policy.backbone.predict_latents(batch.observation, words)
        if predicted.z_BQD.shape != teacher.shape:
            raise ConfigError(
                f"the student makes latents of (Q, D) = {tuple(predicted.z_BQD.shape[1:])}, the teacher of "
                f"{tuple(teacher.shape[1:])}; give both the same latent"
            )
        computed = {
            "distill.latent": latent_mse(predicted.z_BQD, teacher, real),
            "distill.kl": latent_kl(predicted.z_BQD, teacher, real, temperature=self.temperature),
            "distill.text": predicted.text,
        }
        metrics = {
            "distill.latent_of_mean": _error_of_mean(teacher, real),
            "distill.common_teacher": common_direction(teacher.flatten(1), real),
        }
        return Losses(computed, metrics)


@torch.no_grad()
def _error_of_mean(z_BQD: Tensor, mask_B: Tensor) -> Tensor:
    mask = mask_B[:, None, None]
    mean = torch.where(mask, z_BQD, 0.0).sum(dim=0) / mask_B.sum().clamp(min=1)
    return masked_mean((z_BQD - mean).square(), mask)
