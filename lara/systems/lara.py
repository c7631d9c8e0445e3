"""A policy, a latent action model (LAM), and the coupling through which they learn from each other.

    total = action + w_align * align + w_lam * (lam.reconstruction + lam.commitment + ...)     LARA (003), Eq. 7

          I_t, I_{t+H} --> [ LAM encoder, former ] --> z --> [ quantiser, decoder ] --> I_hat_{t+H}
                                                       |
                                                  [ coupling ]                       LARA's: align(z, f(h))
                                                       |
    I_t, text, s_t, x_tau --> [ policy: tokens, DiT ] -h-> ... --> velocity

The coupling says what the policy learns from (`systems.couplings`), the objective what the LAM learns from which frames
(`systems.objectives`); any two can be put together. With V cameras each view is a frame pair of its own to the one LAM
(systems.views). Without a LAM, or without a coupling, the policy learns from actions alone.

Every term has its own mask: samples without actions feed only the LAM terms, samples whose future frame lies past the
episode's end feed only the action term.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import torch
from torch import nn

from lara.errors import ConfigError
from lara.policy.policy import Policy
from lara.policy.tuning import Tuning
from lara.systems.couplings.coupling import Coupling
from lara.systems.couplings.uncoupled import Uncoupled
from lara.systems.objectives.objective import LamRead, Objective
from lara.systems.objectives.pairs import Pairs
from lara.systems.system import System
from lara.types import ActionChunk, Batch, Losses, Observation


class Lara(System):
    """policy: learns; alone it acts. lam: any, or None. coupling: how the two meet; None: not at all.

    objective: what the LAM learns from which frames; None: pairs, or nothing where the coupling's LAM is a finished
    teacher. tuning: what of the policy may learn, and through adapters or not; None: all that it leaves free itself.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        policy: Any,
        lam: Any = None,
        coupling: Coupling | None = None,
        objective: Objective | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__()
        if policy is None:
            raise ConfigError("this system needs a policy, and policy is null; a LAM alone is system=lam")
        if tuning is not None:
            tuning.apply(policy)
        self.policy: Any = policy
        self.lam: Any = lam
        self.coupling: Coupling = Uncoupled() if coupling is None else coupling
        self.objective = self._objective(objective)
        self.coupling.bind(policy, lam)

    def _objective(self, objective: Objective | None) -> Objective | None:
        if self.lam is None:
            if objective is not None:
                raise ConfigError("objective is of a LAM, and this system has none; set system.objective=null")
            return None
        if self.coupling.frozen_lam:
            if objective is not None:
                raise ConfigError(
                    f"{type(self.coupling).__name__} learns from a finished LAM, which has no objective; set "
                    "system.objective=null"
                )
            self.lam.requires_grad_(False)
            return None
        objective = Pairs() if objective is None else objective
        objective.check(self.lam)
        return objective

    def parts(self) -> dict[str, nn.Module]:
        sides = {"policy": self.policy, "lam": self.lam}
        own = {f"{side}.{n}": part for side, m in sides.items() if m is not None for n, part in m.parts().items()}
        return own | self.coupling.parts()

    def terms(self) -> tuple[str, ...]:
        return (*self.coupling.terms(), *(self.objective.terms(self.lam) if self.objective is not None else ()))

    def action_terms(self) -> tuple[str, ...]:
        lam = self.objective.action_terms(self.lam) if self.objective is not None else ()
        return (*self.coupling.action_terms(), *lam)

    @property
    def tapped(self) -> str | None:
        tap = self.coupling.tap
        return None if tap is None else f"{tap} of {self.policy.blocks} blocks"

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        lam_terms = frozenset(self.objective.terms(self.lam)) & terms if self.objective is not None else frozenset()

        @cache
        def read() -> LamRead:
            if self.objective is None:
                raise ConfigError(f"{type(self.coupling).__name__} needs a LAM that learns here; there is none")
            return self.objective.read(self.lam, batch.head(self.coupling.lam_samples(len(batch))), lam_terms)

        computed, metrics = self.coupling.losses(self.policy, self.lam, batch, terms, read)
        if lam_terms:
            computed, metrics = computed | read().losses.terms, metrics | read().losses.metrics
        return Losses({name: computed[name] for name in self.terms() if name in terms}, metrics)

    def train(self, mode: bool = True) -> Lara:
        super().train(mode)
        if self.lam is not None and self.coupling.frozen_lam:
            self.lam.eval()
        return self

    def after_step(self) -> None:
        self.coupling.after_step(self.lam)

    def after_load(self) -> None:
        self.coupling.after_load(self.lam)

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        chunk: ActionChunk = self.policy.act(observation, steps=steps, generator=generator)
        return chunk

    def intervene(self, use: str) -> None:
        """As `Policy.intervene` says; a policy made elsewhere generates no latents."""
        if isinstance(self.policy, Policy):
            self.policy.intervene(use)
        else:
            super().intervene(use)
