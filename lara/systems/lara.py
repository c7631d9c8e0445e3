"""LARA (paper 003): a latent action model and a flow-matching policy, trained together through one alignment term.

    total = action + w_align * align + w_lam * (lam.reconstruction + lam.commitment + ...)          (Eq. 7)

          I_t, I_{t+H} --> [ LAM encoder, former ] --> z --> [ quantiser, decoder ] --> I_hat_{t+H}
                                                       |
                                                 align(z, f(h))
                                                       |
    I_t, text, s_t, x_tau --> [ policy: tokens, DiT ] -h-> ... --> velocity

With V cameras each view is a frame pair of its own to the one LAM, and z is the V views' latents side by side
(systems.views; `align.views` must say V). The pieces may be left out: without a policy this is LAM pretraining (stage
1), without a LAM the "DiT-only" twin.
Every term has its own mask: samples without actions feed only the LAM terms, samples whose future frame lies past the
episode's end feed only the action term.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.losses.flow import velocity_mse
from lara.policy.contract import FlowPolicy
from lara.policy.tuning import Tuning
from lara.systems.alignment import Alignment
from lara.systems.objective import LamObjective, Pairs
from lara.systems.views import beside
from lara.types import ActionChunk, Batch, Losses, Observation


class Lara(nn.Module):
    """policy, lam: either may be None. align: factory of an `Alignment` (needs both), or None. tuning: what of the
    policy may learn, and through adapters or not; None: everything that the policy itself leaves free. objective: what
    the LAM learns from which frames; None: `Pairs`. Those of ALAM and RotVLA keep their laws during joint training."""

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        policy: FlowPolicy | None = None,
        lam: LatentActionModel | None = None,
        align: Callable[..., Alignment] | None = None,
        tuning: Tuning | None = None,
        objective: LamObjective | None = None,
    ) -> None:
        super().__init__()
        if policy is None and lam is None:
            raise ConfigError("a system needs a policy, a LAM, or both; got neither")
        if tuning is not None:
            if policy is None:
                raise ConfigError("tuning is of a policy, and this system has none; set peft=null")
            tuning.apply(policy)
        self.policy: Any = policy
        self.lam = lam
        self.objective: LamObjective = Pairs() if objective is None else objective
        if lam is not None:
            self.objective.check(lam)
        elif objective is not None:
            raise ConfigError("objective is of a LAM, and this system has none; set system.objective=null")
        self.align: Alignment | None = None
        if align is not None:
            if policy is None or lam is None:
                raise ConfigError("align needs both a policy and a LAM; set system.align=null or build both")
            self.align = align(width=policy.width, blocks=policy.blocks, latent_dim=lam.latent_dim, queries=lam.queries)
            self.align.watch(lam)

    def parts(self) -> dict[str, nn.Module]:
        sides = {"policy": self.policy, "lam": self.lam, "align": self.align}
        return {
            f"{side}.{name}": part
            for side, module in sides.items()
            if module is not None
            for name, part in module.parts().items()
        }

    def terms(self) -> tuple[str, ...]:
        action = ("action",) if self.policy is not None else ()
        align = self.align.terms() if self.align is not None else ()
        lam = self.objective.terms(self.lam) if self.lam is not None else ()
        return (*action, *align, *lam)

    def action_terms(self) -> tuple[str, ...]:
        """The policy's own, and those of the alignment, which is tapped at a sample's last real action."""
        return tuple(name for name in self.terms() if not name.startswith("lam."))

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        """The unweighted terms asked for, and metrics under "lam." and "align." names."""
        computed: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        aligning = self.align is not None and bool(terms & set(self.align.terms()))
        lam_terms = frozenset(t for t in terms if t.startswith("lam."))

        flow = None
        if self.policy is not None and ("action" in terms or aligning):
            flow = self.policy.flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA)
            mask = batch.action_mask_BHA.repeat(self.policy.draws, 1, 1)
            computed["action"] = velocity_mse(flow.velocity, flow.target, mask)

        if self.lam is not None and (lam_terms or aligning):
            part = batch.head(self._lam_samples(len(batch)))
            read = self.objective.read(self.lam, part, lam_terms)
            computed |= read.losses.terms
            metrics |= read.losses.metrics
            if aligning and self.align is not None and flow is not None:
                target = self.align.target
                z = read.z_BQD if target is None else target.latent(self.lam, read.frames_BFCHW, read.tokens_BFPE)
                steps = batch.action_mask_BHA.any(dim=2)
                align = self.align.losses(
                    flow, beside(z, batch.frames_BFVCHW.shape[2]), steps, read.real_B[: len(part)]
                )
                computed |= align.terms
                metrics |= {f"align.{name}": value for name, value in align.metrics.items()}

        return Losses({name: computed[name] for name in self.terms() if name in terms}, metrics)

    def forward(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.losses(batch, terms)

    def after_step(self) -> None:
        if self.lam is not None and self.align is not None and self.align.target is not None:
            self.align.target.follow(self.lam)

    def after_load(self) -> None:
        """Called once after parts were loaded from another run."""
        if self.lam is not None and self.align is not None and self.align.target is not None:
            self.align.target.restart(self.lam)

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        if self.policy is None:
            raise ConfigError("this system has no policy to act with (LAM pretraining); load a joint or DiT-only run")
        return self.policy.act(observation, steps=steps, generator=generator)

    def _lam_samples(self, batch_size: int) -> int:
        """In joint training the LAM may see only a share of the batch (the order is random, so the first ones do)."""
        return batch_size if self.align is None else math.ceil(self.align.fraction * batch_size)
