"""RotVLA (paper 001), stages II and III: a policy that generates the latent action, and later the robot's with it.

    stage II    layout latent_chunk     L = |v - (R - eps)|^2                       VL tokens -> N tokens of R  (Eq. 13)
    stage III   layout latent_action    L = |v - ([R, u] - eps)|^2, one tau for both                            (Eq. 14)

R (N, N) is what the decoder of stage I got for the frames at t and t + H. "Without planner" is the layout state_action
and no LAM. Any other latent space does too: the ablations are other LAMs. `align` adds LARA's term (003) to stage III:
the same z that is generated is also agreed on, at a depth of one's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.transitions import TransitionEncoder
from lara.losses.flow import velocity_mse
from lara.policy.unified_policy import UnifiedPolicy
from lara.systems.alignment import Alignment
from lara.systems.cogeneration import CoGeneration
from lara.types import Batch, Losses


class RotVLAPolicy(CoGeneration):
    """policy: with the layout of its stage. lam: stage I's. align: factory of an `Alignment` (stage III only), or None.
    Terms: latent, action (as the layout has them), and those of the alignment."""

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        policy: UnifiedPolicy,
        lam: TransitionEncoder | None = None,
        align: Callable[..., Alignment] | None = None,
    ) -> None:
        super().__init__(policy=policy, lam=lam, error=velocity_mse)
        if policy.latents not in ((), ("latent",)):
            raise ConfigError(f"RotVLA generates one latent per sample, named 'latent'; got {policy.latents}")
        if lam is not None and policy.latents:
            tokens, dim = policy.expert.layout.length("latent"), policy.expert.stream("latent").dim
            if (tokens, dim) != (lam.queries, lam.space.dim):
                raise ConfigError(
                    f"the LAM makes {lam.queries} tokens of {lam.space.dim} dims, the policy {tokens} of {dim}; set "
                    "policy.expert.layout.latents and policy.expert.latent_dim to the LAM's"
                )
        self.align: Alignment | None = None
        if align is not None:
            if lam is None or not policy.acts:
                raise ConfigError("align needs a LAM and actions: stage III with latents")
            self.align = align(width=policy.width, blocks=policy.blocks, latent_dim=lam.latent_dim, queries=lam.queries)
            if self.align.uses_ema:
                raise ConfigError("align.target=ema follows a LAM that learns; here it is frozen, use online")

    def parts(self) -> dict[str, nn.Module]:
        align = {} if self.align is None else {f"align.{n}": p for n, p in self.align.parts().items()}
        return {**super().parts(), **align}

    def terms(self) -> tuple[str, ...]:
        return (*super().terms(), *(self.align.terms() if self.align is not None else ()))

    def latents(self, lam: TransitionEncoder, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        frames, cameras = batch.frames_BFVCHW.shape[1:3]
        if (frames, cameras) != (2, 1):
            raise ConfigError(
                f"RotVLA's policy reads 2 frames of 1 camera, got {frames} of {cameras}; set data.lam_cameras to one "
                "camera and data.frames to null"
            )
        z_BQD = lam.decoded(batch.frames_BFVCHW[:, :, 0])[:, 0]
        return {"latent": z_BQD}, {"latent": batch.frame_mask_BF.all(dim=1)[:, None].expand(z_BQD.shape[:2])}

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        z, real = self.targets(batch)
        computed, metrics, flow = self.generate(batch, z, real)
        if self.align is not None and terms & set(self.align.terms()):
            aligned = self.align.losses(
                flow.of_actions(), z["latent"], batch.action_mask_BHA.any(dim=2), real["latent"][:, 0]
            )
            computed |= aligned.terms
            metrics |= {f"align.{name}": value for name, value in aligned.metrics.items()}
        return Losses({name: computed[name] for name in self.terms() if name in terms}, metrics)
