"""The contract of a GR00T backbone: an observation in, vision-language tokens out, with a mask of those for pixels."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from lara.types import Observation


class VLTokens(NamedTuple):
    """x: (B, J, C) features. mask: (B, J) True where a token is real. image: (B, J) True where it stands for pixels."""

    x: Tensor
    mask: Tensor
    image: Tensor

    def repeat(self, draws: int) -> VLTokens:
        """draws * B rows; draw r of sample b is row r * B + b."""
        return VLTokens(*(t.repeat(draws, *([1] * (t.ndim - 1))) for t in self))


class GrootBackbone(Protocol):
    """width: C of the tokens. Must not look at the state (the action head does)."""

    width: int

    def __call__(self, observation: Observation) -> VLTokens: ...
