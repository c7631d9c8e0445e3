"""A latent action model alone, under any objective: stage 1 of every paper.

system=lam objective=pairs         LARA (003), LAPA, Moto: frames at t and t + H
system=lam objective=additive      ALAM (004): transitions that add up and reverse, on triplets
system=lam objective=rotation      RotVLA (001): rotations that compose, on triplets
system=lam objective=clips         LatBot (002): clips, instructions, and the actions between the frames
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from lara.errors import ConfigError
from lara.systems.objectives.objective import Objective
from lara.systems.objectives.pairs import Pairs
from lara.systems.system import System
from lara.types import ActionChunk, Batch, Losses, Observation


class LamSystem(System):
    """lam: any that the objective can train. objective: what it learns from which frames; None: `Pairs`."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, lam: Any, objective: Objective | None = None) -> None:
        super().__init__()
        if lam is None:
            raise ConfigError("system=lam trains a latent action model, and lam is null; choose one with lam=")
        self.objective: Objective = Pairs() if objective is None else objective
        self.objective.check(lam)
        self.lam: Any = lam

    def parts(self) -> dict[str, nn.Module]:
        return {f"lam.{name}": part for name, part in self.lam.parts().items()}

    def terms(self) -> tuple[str, ...]:
        return self.objective.terms(self.lam)

    def action_terms(self) -> tuple[str, ...]:
        return self.objective.action_terms(self.lam)

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.objective.read(self.lam, batch, terms).losses

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        raise ConfigError("a latent action model cannot act; train a policy on it")
