"""The contract of a latent space: where a latent action lives, and what it passes through on its way to a decoder."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Bottleneck(NamedTuple):
    """What the decoder gets, and what the space has to say about it.

    z: (B, Q, D) latent for the decoder. terms: unweighted scalar losses of the space. metrics: detached scalars.
    """

    z: Tensor
    terms: dict[str, Tensor]
    metrics: dict[str, Tensor]


class LatentSpace(Protocol):
    """B batch, Q queries, D dims per query.

    project():    maps the encoder's raw output onto the space; idempotent. The aligned, probed, exported latent.
    bottleneck(): what the latent passes through before the decoder (a quantiser, a soft codebook, or nothing).
                  mask_B is False for samples whose frame pair is not real; they touch neither losses nor statistics.
    terms():      names of the losses that `bottleneck` returns.
    """

    dim: int

    def project(self, raw_BQD: Tensor) -> Tensor: ...

    def bottleneck(self, z_BQD: Tensor, mask_B: Tensor) -> Bottleneck: ...

    def terms(self) -> tuple[str, ...]: ...
