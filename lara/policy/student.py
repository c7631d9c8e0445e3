"""The contract of LatBot's student (002, section 3.3): the policy's VLM, which foretells a teacher's latents."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.policy.backbone import Backbone
from lara.types import ActionChunk, Observation


class PredictedLatents(NamedTuple):
    """z_BQD: predicted latents, the scene's tokens first (002, Eq. 3). text: mean next-token loss on the batch's texts,
    in nats (Eq. 5)."""

    z_BQD: Tensor
    text: Tensor


class Student(Backbone, Protocol):
    """A backbone whose tokens end in its predicted latents (mapped to its width), so that an expert is conditioned on
    both what was seen and what is foreseen. It sees the present frame and the instruction, never the future.

    predict_latents(): the same pass with the prediction itself, and the loss of writing `texts`.
    """

    def predict_latents(self, observation: Observation, texts: tuple[str, ...]) -> PredictedLatents: ...


class BackboneOnly(nn.Module):
    """A `Student` that has no expert yet: the policy of LatBot's distillation.

    Its one part is "backbone", as that of the policy which it becomes, so that the next stage loads it by that name.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, backbone: Any) -> None:
        super().__init__()
        if backbone is None:
            raise ConfigError("distillation needs a student; choose a policy whose backbone is one (policy=latbot)")
        self.backbone: Any = backbone

    def parts(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone}

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        raise ConfigError("a student without an expert cannot act; fine-tune it with an expert (stage 3)")
