"""The contract of LatBot's student (002, section 3.3): the policy's VLM, which foretells a teacher's latents."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from lara.policy.backbone import Backbone
from lara.types import Observation


class Study(NamedTuple):
    """z_BQD: predicted latents, the scene's tokens first (002, Eq. 3). text: mean next-token loss on the batch's texts,
    in nats (Eq. 5)."""

    z_BQD: Tensor
    text: Tensor


class Student(Backbone, Protocol):
    """A backbone whose tokens end in its predicted latents (mapped to its width), so that an expert is conditioned on
    both what was seen and what is foreseen. It sees the present frame and the instruction, never the future.

    study(): the same pass with the prediction itself, and the loss of writing `texts`.
    """

    def study(self, observation: Observation, texts: tuple[str, ...]) -> Study: ...
