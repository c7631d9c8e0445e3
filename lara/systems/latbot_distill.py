"""LatBot (paper 002), stage 2: a policy's VLM learns to foretell the latents of a frozen latent action model.

    z = teacher(V_t .. V_{t+k}, instruction)      z_hat = student(V_t, instruction)                   (Eqs. 2, 3)
    loss = |z_hat - z|^2 + KL(p(z_hat) || p(z)) + 0.5 * next-token loss on the subtask text           (Eqs. 4-6)

The teacher is stage 1's (`stage.load.lam`), the student the backbone of stage 3's policy. The subtask text is the
dataset's language column, which is also the instruction: where a dataset has no finer one, this term keeps the student
able to write what it reads, and asks for no planning.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.latbot import LatBotLam
from lara.losses.distillation import latent_kl, latent_mse
from lara.ops.masks import masked_mean
from lara.ops.similarity import common_direction
from lara.policy.student import Student
from lara.systems.latbot import clip
from lara.types import ActionChunk, Batch, Losses, Observation

TERMS = ("distill.latent", "distill.kl", "distill.text")


class LatBotDistill(nn.Module):
    """lam: the teacher, frozen and in eval mode whatever the stage says. policy: the student alone (part
    "policy.backbone", so that stage 3 loads it from here by that name).

    Metrics: latent_of_mean, the error of always saying the mean latent of this batch, and common_teacher, the mean
    cosine between the teacher's latents of different samples: near 1 there is nothing to foretell.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, lam: LatBotLam, policy: Student, temperature: float = 1.0) -> None:
        super().__init__()
        if lam is None or policy is None:
            raise ConfigError("distillation needs a teacher and a student; to look at the teacher, open its own run")
        self.lam = lam.requires_grad_(False)
        self.policy: Any = policy
        self.temperature = temperature

    def parts(self) -> dict[str, nn.Module]:
        return {**{f"lam.{name}": part for name, part in self.lam.parts().items()}, "policy.backbone": self.policy}

    def terms(self) -> tuple[str, ...]:
        return TERMS

    def action_terms(self) -> tuple[str, ...]:
        """None: frames and words."""
        return ()

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        words, real = batch.observation.instruction, batch.frame_mask_BF.all(dim=1)
        with torch.no_grad():
            teacher = self.lam.encode(clip(batch), words).z_BQD
        study = self.policy.study(batch.observation, words)
        if study.z_BQD.shape != teacher.shape:
            raise ConfigError(
                f"the student makes latents of (Q, D) = {tuple(study.z_BQD.shape[1:])}, the teacher of "
                f"{tuple(teacher.shape[1:])}; give both the same latent"
            )
        computed = {
            "distill.latent": latent_mse(study.z_BQD, teacher, real),
            "distill.kl": latent_kl(study.z_BQD, teacher, real, temperature=self.temperature),
            "distill.text": study.text,
        }
        metrics = {
            "distill.latent_of_mean": _error_of_mean(teacher, real),
            "distill.common_teacher": common_direction(teacher.flatten(1), real),
        }
        return Losses({name: computed[name] for name in TERMS if name in terms}, metrics)

    def train(self, mode: bool = True) -> LatBotDistill:
        super().train(mode)
        self.lam.eval()
        return self

    def forward(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.losses(batch, terms)

    def after_step(self) -> None:
        """Nothing follows the weights."""

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        raise ConfigError("a student without an expert cannot act; fine-tune it with an expert (stage 3)")


@torch.no_grad()
def _error_of_mean(z_BQD: Tensor, mask_B: Tensor) -> Tensor:
    mask = mask_B[:, None, None]
    mean = torch.where(mask, z_BQD, 0.0).sum(dim=0) / mask_B.sum().clamp(min=1)
    return masked_mean((z_BQD - mean).square(), mask)
