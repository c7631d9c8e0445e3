"""The contract of a vision-language backbone: an observation in, tokens for the action expert to look at out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from lara.types import Observation


class Tokens(NamedTuple):
    """x: (B, J, E) vision-language tokens. mask: (B, J) True where a token is real."""

    x: Tensor
    mask: Tensor


class Backbone(Protocol):
    """width: E of the tokens. Called with an Observation; must not look at the state (the expert does)."""

    width: int

    def __call__(self, observation: Observation) -> Tokens: ...
