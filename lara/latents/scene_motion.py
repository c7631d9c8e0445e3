"""Latents in two parts: tokens for the scene and tokens for the motion (LatBot 002).

Both go to the decoder; what the robot did must be readable from the motion tokens. No group: a scene has no inverse.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lara.errors import ConfigError
from lara.latents.space import Bottleneck, LatentSpace


class SceneMotion(NamedTuple):
    """scene_BQD: (..., scene, D) what is there. motion_BQD: (..., motion, D) what the body does."""

    scene_BQD: Tensor
    motion_BQD: Tensor


class SceneMotionSpace(LatentSpace):
    """R^dim, Q = scene + motion queries, the scene's first. The paper has 64 and 64."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, dim: int, scene: int = 64, motion: int = 64) -> None:
        super().__init__()
        if scene < 1 or motion < 1:
            raise ConfigError(f"both parts need at least one token, got scene={scene}, motion={motion}")
        self.dim = dim
        self.scene = scene
        self.motion = motion

    @property
    def queries(self) -> int:
        """Q, which the LAM's queries must equal."""
        return self.scene + self.motion

    def project(self, raw_BQD: Float[Tensor, "*B Q D"]) -> Float[Tensor, "*B Q D"]:
        """All of R^D is allowed. Raises ConfigError when Q is not scene + motion."""
        self._check(raw_BQD)
        return raw_BQD

    def bottleneck(self, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """Nothing. Metrics: the mean square of each part, because a part that went to 0 is not in use."""
        with torch.no_grad():
            n = mask_B.sum().clamp(min=1)
            power = {
                f"{name}_power": torch.where(mask_B, part.float().square().mean((1, 2)), 0.0).sum() / n
                for name, part in zip(("scene", "motion"), self.split(z_BQD), strict=True)
            }
        return Bottleneck(z_BQD, {}, power)

    def split(self, z_BQD: Float[Tensor, "*B Q D"]) -> SceneMotion:
        """Views of the two parts; what probes and alignments that only want motion read."""
        self._check(z_BQD)
        return SceneMotion(z_BQD[..., : self.scene, :], z_BQD[..., self.scene :, :])

    def named_parts(self, z_BQD: Float[Tensor, "*B Q D"]) -> dict[str, Tensor]:
        scene, motion = self.split(z_BQD)
        return {"scene": scene, "motion": motion}

    def join(self, parts: SceneMotion) -> Float[Tensor, "*B Q D"]:
        """The inverse of split. One sample's motion may be joined to another's scene."""
        z_BQD = torch.cat(list(parts), dim=-2)
        self._check(z_BQD)
        return z_BQD

    def _check(self, z_BQD: Tensor) -> None:
        if z_BQD.shape[-2] != self.queries:
            raise ConfigError(
                f"expected {self.scene} scene + {self.motion} motion = {self.queries} tokens, got {z_BQD.shape[-2]}; "
                f"set the LAM's queries to {self.queries}"
            )
