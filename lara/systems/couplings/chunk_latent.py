"""RotVLA (paper 001), stages II and III: a policy that generates the latent action, and later the robot's with it.

    stage II    layout latent_chunk     L = |v - (R - eps)|^2                       VL tokens -> N tokens of R  (Eq. 13)
    stage III   layout latent_action    L = |v - ([R, u] - eps)|^2, one tau for both                            (Eq. 14)

R (N, N) is what the decoder of stage I got for the frames at t and t + H. "Without planner" is the layout state_action
and no LAM. Any other latent space does too: the ablations are other LAMs. `align` adds LARA's term (003) to stage III:
the same z that is generated is also agreed on, at a depth of one's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.transitions import TransitionEncoder
from lara.losses.flow import velocity_mse
from lara.policy.policy import Policy
from lara.systems.couplings.alignment import Alignment
from lara.systems.couplings.cogeneration import CoGeneration
from lara.systems.objectives.objective import LamRead
from lara.types import Batch, Losses


class ChunkLatent(CoGeneration):
    """policy: with the layout of its stage. lam: stage I's. align: an `Alignment` (stage III only), or None.
    Terms: latent, action (as the layout has them), and those of the alignment."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, align: Alignment | None = None) -> None:
        super().__init__(error=velocity_mse)
        self.align = align

    @property
    def tap(self) -> str | None:
        return None if self.align is None else self.align.tap

    def bind(self, policy: Any, lam: Any) -> None:
        super().bind(policy, lam)
        if self.streams not in ((), ("latent",)):
            raise ConfigError(f"RotVLA generates one latent per sample, named 'latent'; got {self.streams}")
        if lam is not None and self.streams:
            tokens, dim = policy.expert.layout.length("latent"), policy.expert.stream("latent").dim
            if (tokens, dim) != (lam.queries, lam.space.dim):
                raise ConfigError(
                    f"the LAM makes {lam.queries} tokens of {lam.space.dim} dims, the policy {tokens} of {dim}; set "
                    "policy.expert.layout.latents and policy.expert.latent_dim to the LAM's"
                )
        if self.align is not None:
            if lam is None or not self.acts:
                raise ConfigError("align needs a LAM and actions: stage III with latents")
            if self.align.uses_ema:
                raise ConfigError("align.target=ema follows a LAM that learns; here it is frozen, use online")
            self.align.bind(policy, lam)

    def parts(self) -> dict[str, nn.Module]:
        return {} if self.align is None else self.align.parts()

    def terms(self) -> tuple[str, ...]:
        return (*super().terms(), *(self.align.align_terms() if self.align is not None else ()))

    def latents(
        self, policy: Policy, lam: TransitionEncoder, batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        frames, cameras = batch.frames_BFVCHW.shape[1:3]
        if (frames, cameras) != (2, 1):
            raise ConfigError(
                f"RotVLA's policy reads 2 frames of 1 camera, got {frames} of {cameras}; set data.lam.cameras to one "
                "camera and data.lam.frames to null"
            )
        z_BQD = lam.decoded(batch.frames_BFVCHW[:, :, 0])[:, 0]
        return {"latent": z_BQD}, {"latent": batch.frame_mask_BF.all(dim=1)[:, None].expand(z_BQD.shape[:2])}

    def losses(
        self, policy: Policy, lam: Any, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]
    ) -> Losses:
        z, real = self.targets(policy, lam, batch)
        generated, flow = self.generate(policy, batch, z, real)
        if self.align is None or not terms & set(self.align.align_terms()):
            return generated
        steps_BH = batch.action_mask_BHA.any(dim=2)
        h, tau = self.align.tapped(flow.states, flow.tau_B, steps_BH, len(steps_BH))
        aligned = self.align.agree(h, z["latent"], real["latent"][:, 0] & steps_BH.any(dim=1), tau)
        return Losses(generated.terms | aligned.terms, generated.metrics | aligned.metrics)
