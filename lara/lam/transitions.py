"""A latent action model without its decoder: the frozen teacher of a policy (RotVLA II and III, ALAM).

Parts have the names of the whole model's, so that `stage.load` fills them from its checkpoint; what is not asked for
there (the decoder, a quantiser that the space no longer has) stays behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class TransitionEncoder(nn.Module):
    """encoder, former, space, queries: as in `LatentActionModel`. Its methods give no gradient to anything."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, encoder: Any, former: Callable[..., nn.Module], space: Any, queries: int = 8) -> None:
        super().__init__()
        self.queries = queries
        self.encoder: Any = encoder
        self.space: Any = space
        self.former: Any = former(tokens=encoder.tokens, context_width=encoder.width, queries=queries, dim=space.dim)

    @property
    def latent_dim(self) -> int:
        """Q * D."""
        size: int = self.queries * self.space.dim
        return size

    def parts(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "former": self.former, "space": self.space}

    @torch.no_grad()
    def transitions(self, frames_BFCHW: UInt8[Tensor, "B F C h w"]) -> Float[Tensor, "B F1 Q D"]:
        """The continuous latent of every step from a frame to the next, F1 = F - 1, before any quantiser (004, Eq. 10).
        Each frame is encoded once."""
        z: Tensor = self.space.project(self._raw(frames_BFCHW)).unflatten(0, (len(frames_BFCHW), -1))
        return z

    @torch.no_grad()
    def decoded(self, frames_BFCHW: UInt8[Tensor, "B F C h w"]) -> Float[Tensor, "B F1 Q D"]:
        """The same as the decoder gets it: through SoftVQ onto SO(n) (001, Eq. 5), or as codes of a discrete space."""
        raw = self._raw(frames_BFCHW)
        all_real = torch.ones(len(raw), dtype=torch.bool, device=raw.device)
        z: Tensor = self.space.extract(raw, all_real).z.unflatten(0, (len(frames_BFCHW), -1))
        return z

    def _raw(self, frames_BFCHW: Tensor) -> Tensor:
        """(B * (F - 1), Q, D)."""
        tokens = self.encoder(frames_BFCHW.flatten(0, 1)).unflatten(0, frames_BFCHW.shape[:2])
        raw: Tensor = self.former(tokens[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(0, 1))
        return raw
