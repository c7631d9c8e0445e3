"""What a latent action model learns from the frames of a batch, by itself or beside a policy.

An objective encodes each frame once, computes the LAM's terms from them, and says which of its latents is the one from
t to the future frame that a policy is aligned with. The usual one is a pair of frames (LARA 003); those of ALAM and
RotVLA are on triplets (systems.alam, systems.rotvla).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lara.lam.model import LatentActionModel
from lara.systems.views import fold_views
from lara.types import Batch, Losses


@dataclass(frozen=True)
class LamRead:
    """Of V cameras and B samples, rows v * B + i.

    frames_BFCHW: (V * B, 2, 3, h, w) uint8, at t and at the future that is aligned. tokens_BFPE: of the encoder.
    z_BQD: the continuous latent between them. real_B: whether both exist. losses: of the LAM, under "lam." names.
    """

    frames_BFCHW: Tensor
    tokens_BFPE: Tensor
    z_BQD: Tensor
    real_B: Tensor
    losses: Losses


class LamObjective(Protocol):
    def check(self, lam: LatentActionModel) -> None:
        """Raises ConfigError for a LAM that this objective cannot train."""

    def terms(self, lam: LatentActionModel) -> tuple[str, ...]:
        """Every term, "lam.reconstruction" and so on."""

    def read(self, lam: LatentActionModel, batch: Batch, terms: frozenset[str]) -> LamRead:
        """The terms asked for, unweighted. Raises ConfigError for a batch with other frames than it needs."""


class Pairs:
    """Frames at t and t + H; the LAM's own terms (`LatentActionModel.losses`)."""

    def check(self, lam: LatentActionModel) -> None:
        """Any LAM learns from pairs."""

    def terms(self, lam: LatentActionModel) -> tuple[str, ...]:
        return tuple(f"lam.{name}" for name in lam.terms())

    def read(self, lam: LatentActionModel, batch: Batch, terms: frozenset[str]) -> LamRead:
        frames, mask = fold_views(batch, 2, hint="data.frames to null or a lara.data.sampling.Pair")
        real = mask.all(dim=1)
        tokens = lam.encode_frames(frames)
        latent = lam.latent(tokens)
        losses = Losses({}, {})
        if terms:
            own = lam.losses(frames, tokens, latent, real, frozenset(t.removeprefix("lam.") for t in terms))
            losses = Losses(
                {f"lam.{name}": value for name, value in own.terms.items()},
                {f"lam.{name}": value for name, value in own.metrics.items()},
            )
        return LamRead(frames, tokens, latent.z_BQD, real, losses)
