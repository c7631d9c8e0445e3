"""What a latent action model learns from the frames of a batch, by itself or beside a policy.

An objective encodes each frame once, computes the LAM's terms from them, and says which of its latents is the one from
t to the future frame that a policy is aligned with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.types import Batch, Losses


@dataclass(frozen=True)
class LamRead:
    """What an objective read of B samples in V cameras, rows v * B + i.

    frames_BFCHW: (V * B, 2, 3, h, w) uint8, at t and at the future that is aligned. tokens_BFPE: of the encoder; None
    for a LAM without a frame encoder of its own. real_B: whether both frames exist. latent(): the continuous latent
    (V * B, Q, D) between them, computed when it is asked for. losses: of the LAM, under "lam." names.
    """

    frames_BFCHW: Tensor
    tokens_BFPE: Tensor | None
    real_B: Tensor
    latent: Callable[[], Tensor]
    losses: Losses


class Objective(ABC):
    """Holds no weights: everything that learns belongs to the LAM."""

    @abstractmethod
    def check(self, lam: Any) -> None:
        """Raises ConfigError for a LAM that this objective cannot train."""

    @abstractmethod
    def terms(self, lam: Any) -> tuple[str, ...]:
        """Every term, "lam.reconstruction" and so on."""

    def action_terms(self, lam: Any) -> tuple[str, ...]:
        """Those that are means over real actions: none, where frames are all that is learned from."""
        return ()

    @abstractmethod
    def read(self, lam: Any, batch: Batch, terms: frozenset[str]) -> LamRead:
        """The terms asked for, unweighted. Raises ConfigError for a batch with other frames than it needs."""


def check_pairwise(lam: Any, objective: str) -> None:
    """Raises ConfigError for a LAM that does not read one frame after the other in pairs."""
    if not isinstance(lam, LatentActionModel):
        raise ConfigError(
            f"objective={objective} trains a LatentActionModel, which reads pairs of frames, got {type(lam).__name__}; "
            "LatBot's (lam=latbot) takes objective=clips"
        )


def under_lam(losses: Losses) -> Losses:
    """The model's own names, as the terms and metrics of a system: "reconstruction" -> "lam.reconstruction"."""
    return Losses(*({f"lam.{name}": value for name, value in group.items()} for group in losses))


def own_names(terms: frozenset[str]) -> frozenset[str]:
    """The way back: the model's own names of the "lam." terms."""
    return frozenset(name.removeprefix("lam.") for name in terms if name.startswith("lam."))
