"""The contract of a latent space: where a latent action lives, and what it passes through on its way to a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.latents.codes import CodeSpace
from lara.latents.groups import Group


class Bottleneck(NamedTuple):
    """What the decoder gets, and what the space has to say about it.

    Attributes:
        z: (B, Q, D) latent for the decoder.
        terms: unweighted scalar losses of the space.
        metrics: detached scalars.
    """

    z: Tensor
    terms: dict[str, Tensor]
    metrics: dict[str, Tensor]


class LatentSpace(nn.Module):
    """B batch, Q queries, D = dim dims per query. A new space overrides what differs from plain R^D.

    What a space can do beyond that is asked of the space, never of its class: codes by `coder`, an operation by
    `group`, parts by `named_parts`.

    Attributes:
        gauged: whether the group's unit is measured on pairs of identical frames (`gauge`).
    """

    gauged: bool = False
    dim: int

    def project(self, raw_BQD: Tensor) -> Tensor:
        """Maps the encoder's raw output onto the space; idempotent. The aligned, probed, exported latent."""
        return raw_BQD

    def bottleneck(self, z_BQD: Tensor, mask_B: Tensor) -> Bottleneck:
        """What the latent passes through before the decoder: a quantiser, a soft codebook, or nothing.

        mask_B is False for samples whose frame pair is not real; they touch neither losses nor statistics.
        """
        return Bottleneck(z_BQD, {}, {})

    def extract(self, raw_BQD: Tensor, mask_B: Tensor) -> Bottleneck:
        """From the encoder's raw output to what the decoder gets."""
        return self.bottleneck(self.project(raw_BQD), mask_B)

    def default_weights(self) -> Mapping[str, float]:
        """The losses that `bottleneck` returns, and how much each weighs beside a reconstruction of weight 1.

        A stage that weighs the part `lam.space` by a number multiplies these by it.
        """
        return {}

    def terms(self) -> tuple[str, ...]:
        """The names of the losses that `bottleneck` returns."""
        return tuple(self.default_weights())

    def coder(self) -> CodeSpace | None:
        """What writes this space's latents as codes; None for a space without."""
        return None

    def group(self) -> Group | None:
        """The operation under which this space's latents compose; None for a space that is no group."""
        return None

    def gauge(self, z_aa_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Group | None:
        """The group whose unit is that of these latents of identical frame pairs; a space that is not `gauged` knows
        its unit without them."""
        return self.group()

    def named_parts(self, z_BQD: Tensor) -> dict[str, Tensor]:
        """The parts of a latent that mean different things, each (..., q, D); {} for a latent of one piece."""
        return {}
