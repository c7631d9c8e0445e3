"""What a latent space with codes offers: a finite alphabet that z is written in, and read from."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class CodeSpace(Protocol):
    """K codes, one per query. Asked of any space by `LatentSpace.coder`.

    Attributes:
        codes: K.
        fixed_points: whether a code's vector is written as that same code, `encode(lookup(i)) == i`.
    """

    codes: int
    fixed_points: bool

    def encode(self, z_BQD: Tensor) -> Tensor:
        """(B, Q, D) latents -> (B, Q) int64 codes, 0 <= code < K."""
        ...

    def lookup(self, indices_BQ: Tensor) -> Tensor:
        """(B, Q) codes -> (B, Q, D), the vectors that a decoder gets for them."""
        ...
