"""What RotVLA's and ALAM's policies share: a frozen latent action model says which latents, the policy generates them.

    total = sum over latent streams of w_s * error(v_s, target_s)  +  w_action * error(v_u, target_u)

One unweighted term per stream, each with its own mask: samples without actions (human video) feed the latent terms
only, samples whose future frame lies past the episode's end feed the action term only. The policy alone acts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.transitions import TransitionEncoder
from lara.policy.unified_policy import CoFlow, UnifiedPolicy
from lara.types import ActionChunk, Batch, Losses, Observation

Error = Callable[[Tensor, Tensor, Tensor], Tensor]


class CoGeneration(nn.Module, ABC):
    """policy: generates latents, actions, or both. lam: the teacher; None for acting, or a layout without latents.
    error: (velocity, target, mask) -> scalar, of every stream. Subclasses say which latents a batch holds."""

    def __init__(self, *, policy: UnifiedPolicy, lam: TransitionEncoder | None, error: Error) -> None:
        super().__init__()
        if policy is None:
            raise ConfigError("this system is a policy with a frozen LAM; its LAM alone is in the run that trained it")
        if not policy.latents and lam is not None:
            raise ConfigError(
                f"the policy generates {policy.expert.layout.names}, no latents; leave the LAM out with system.lam=null"
            )
        self.policy = policy
        self.lam = lam
        self.error = error
        if lam is not None:  # frozen after stage I (001 section C; 004 section 3.3), whatever a stage says
            lam.requires_grad_(False)

    @abstractmethod
    def latents(self, lam: TransitionEncoder, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Stream -> latents (B, tokens, D), and which are real (B, tokens)."""

    def parts(self) -> dict[str, nn.Module]:
        sides = {"policy": self.policy, "lam": self.lam}
        return {f"{side}.{n}": part for side, m in sides.items() if m is not None for n, part in m.parts().items()}

    def terms(self) -> tuple[str, ...]:
        return (*self.policy.latents, *(("action",) if self.policy.acts else ()))

    def action_terms(self) -> tuple[str, ...]:
        """Latents are read off frames: all that is no latent."""
        return tuple(name for name in self.terms() if name not in self.policy.latents)

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        z, real = self.targets(batch)
        computed, metrics, _ = self.generate(batch, z, real)
        return Losses({name: computed[name] for name in self.terms() if name in terms}, metrics)

    def targets(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`latents` of the batch; nothing for a layout without them. ConfigError when there is no LAM to ask, or when
        the batch brings labels, which the frames' latents would silently replace."""
        if batch.latents_BTVD is not None:
            raise ConfigError(
                f"{type(self).__name__} asks its LAM about frames and would not look at the data's latents; set "
                "data.latents=null (ALAM's policy learns from them)"
            )
        if not self.policy.latents:
            return {}, {}
        if self.lam is None:
            raise ConfigError("training this policy needs the LAM whose latents it generates; system.lam is null")
        return self.latents(self.lam, batch)

    def generate(
        self, batch: Batch, z: dict[str, Tensor], real: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], CoFlow]:
        """One error per stream, metrics, and the pass itself."""
        flow = self.policy.co_flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA, z, real)
        masks = {name: mask[..., None] for name, mask in real.items()} | {"action": batch.action_mask_BHA}
        computed = {
            name: self.error(answer, flow.targets[name], masks[name].repeat(self.policy.draws, 1, 1).expand_as(answer))
            for name, answer in flow.answers.items()
        }
        scales = {name: self.policy.expert.stream(name).scale.square.detach().sqrt() for name in self.policy.latents}
        return computed, {f"{name}.size": scale for name, scale in scales.items()}, flow

    def forward(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.losses(batch, terms)

    def after_step(self) -> None:
        """Nothing follows the weights."""

    def intervene(self, use: str) -> None:
        """What the actions get of the latents from now on, see `UnifiedPolicy.intervene`."""
        self.policy.intervene(use)

    @torch.no_grad()
    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        return self.policy.act(observation, steps=steps, generator=generator)
