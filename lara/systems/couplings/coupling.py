"""How a policy and a latent action model meet in training: the contract of every coupling.

A coupling computes what the policy learns from, its own action term included. It keeps neither of the two: they are the
system's (`systems.lara`), which hands them over, so that a coupling holds no weights but those that it brings itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn

from lara.systems.objectives.objective import LamRead
from lara.types import Batch, Losses


class Coupling(nn.Module, ABC):
    """frozen_lam: whether the LAM is a finished teacher, which learns nothing here whatever a stage says."""

    frozen_lam: ClassVar[bool] = False

    @property
    def tap(self) -> str | None:
        """Which state of the policy is aligned, by name (`policy.expert.tapped_state`); None where none is."""
        return None

    @abstractmethod
    def bind(self, policy: Any, lam: Any) -> None:
        """Called once, when both sides exist: makes what depends on their sizes.

        Args:
            policy: what the system trains. lam: its latent action model, or None.

        Raises:
            ConfigError: for two sides that cannot be coupled so.
        """

    def parts(self) -> dict[str, nn.Module]:
        """Full part names, e.g. "align.projector", of what the coupling brings itself."""
        return {}

    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """The terms that `losses` can compute; the LAM's own ("lam.") are the system's business."""

    def action_terms(self) -> tuple[str, ...]:
        """Those of `terms` that are means over real actions."""
        return self.terms()

    def lam_samples(self, samples: int) -> int:
        """How many samples of a batch the LAM reads where it learns: the first ones, whose order is random."""
        return samples

    @abstractmethod
    def losses(self, policy: Any, lam: Any, batch: Batch, terms: frozenset[str], read: Callable[[], LamRead]) -> Losses:
        """The terms asked for, and metrics.

        Args:
            read: what the LAM's objective read of the first `lam_samples` samples, computed once when first asked for.
                Not for a coupling with a frozen LAM, which asks `lam` itself.
        """

    def after_step(self, lam: Any) -> None:
        """Called after every optimiser step."""

    def after_load(self, lam: Any) -> None:
        """Called once after parts were loaded from another run."""
