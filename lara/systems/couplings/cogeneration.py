"""Co-generation: a frozen latent action model says which latents, and the policy generates them beside the actions.

    total = sum over latent streams of w_s * error(v_s, target_s)  +  w_action * error(v_u, target_u)

RotVLA's and ALAM's couplings are of this kind. One unweighted term per stream, each with its own mask: samples without
actions (human video) feed the latent terms only, samples whose future frame lies past the episode's end feed the action
term only. The policy alone acts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from lara.errors import ConfigError
from lara.lam.transitions import TransitionEncoder
from lara.policy.generation import StreamFlow
from lara.policy.policy import Policy
from lara.systems.couplings.coupling import Coupling
from lara.systems.objectives.objective import LamRead
from lara.types import Batch, Losses

Error = Callable[[Tensor, Tensor, Tensor], Tensor]


class CoGeneration(Coupling):
    """Subclasses say which latents a batch holds. Terms: the policy's latent streams by name, and action where it acts.

    error: (velocity, target, mask) -> scalar, of every stream.
    """

    frozen_lam: ClassVar[bool] = True  # after stage 1 (001 section C; 004 section 3.3)

    def __init__(self, *, error: Error) -> None:
        super().__init__()
        self.error = error
        self.streams: tuple[str, ...] = ()
        self.acts = False

    @abstractmethod
    def latents(self, policy: Policy, lam: Any, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Stream -> latents (B, tokens, D), and which are real (B, tokens)."""

    def bind(self, policy: Any, lam: Any) -> None:
        if not isinstance(policy, Policy):
            raise ConfigError(
                f"{type(self).__name__} needs a policy that generates latents (its layout, see conf/layout), "
                f"got {type(policy).__name__}"
            )
        if lam is not None and not isinstance(lam, TransitionEncoder):
            raise ConfigError(
                f"{type(self).__name__} learns from a lara.lam.transitions.TransitionEncoder, got {type(lam).__name__}"
            )
        if not policy.latents and lam is not None:
            raise ConfigError(
                f"the policy generates {policy.expert.layout.names}, no latents; leave the LAM out with system.lam=null"
            )
        self.streams, self.acts = policy.latents, policy.acts

    def terms(self) -> tuple[str, ...]:
        return (*self.streams, *(("action",) if self.acts else ()))

    def action_terms(self) -> tuple[str, ...]:
        """Latents are read off frames: all that is no latent."""
        return tuple(name for name in self.terms() if name not in self.streams)

    def losses(
        self, policy: Policy, lam: Any, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]
    ) -> Losses:
        z, real = self.targets(policy, lam, batch)
        return self.generate(policy, batch, z, real)[0]

    def targets(self, policy: Policy, lam: Any, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`latents` of the batch; nothing for a layout without them.

        Raises:
            ConfigError: when there is no LAM to ask, or when the batch brings labels, which the frames' latents would
                silently replace.
        """
        if batch.latents_BTVD is not None:
            raise ConfigError(
                f"{type(self).__name__} asks its LAM about frames and would not look at the data's latents; set "
                "data.lam.latents=null (ALAM's coupling learns from them)"
            )
        if not self.streams:
            return {}, {}
        if lam is None:
            raise ConfigError("training this policy needs the LAM whose latents it generates; system.lam is null")
        return self.latents(policy, lam, batch)

    def generate(
        self, policy: Policy, batch: Batch, z: dict[str, Tensor], real: dict[str, Tensor]
    ) -> tuple[Losses, StreamFlow]:
        """One error per stream with the size of its latents as a metric, and the pass itself."""
        flow = policy.stream_flow(batch.observation, batch.actions_BHA, batch.action_mask_BHA, z, real)
        masks = {name: mask[..., None] for name, mask in real.items()} | {"action": batch.action_mask_BHA}
        computed = {
            name: self.error(
                prediction, flow.targets[name], masks[name].repeat(policy.draws, 1, 1).expand_as(prediction)
            )
            for name, prediction in flow.predictions.items()
        }
        scales = {name: policy.expert.stream(name).scale.square.detach().sqrt() for name in self.streams}
        return Losses(computed, {f"{name}.size": scale for name, scale in scales.items()}), flow
