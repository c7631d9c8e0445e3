"""The contract between the training loop and a method. The loop knows nothing else about LAMs, policies or papers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from lara.errors import ConfigError
from lara.types import ActionChunk, Batch, Losses, Observation


class System(nn.Module, ABC):
    """Everything that a method trains, as one module.

    Two kinds exist: a latent action model alone (`systems.lam`), and a policy with whatever it learns from
    (`systems.lara`). What has a sensible default is defined here; the rest a system must say.
    """

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """Names to modules, e.g. "lam.encoder", "policy.expert", "align.projector".

        Together they cover every parameter exactly once (train.parts checks it), so that a stage can say by name what
        learns and what is loaded.
        """

    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """The names of all loss terms that this system can compute, in a fixed order."""

    def action_terms(self) -> tuple[str, ...]:
        """Those of `terms` that are means over real actions: on data without actions they are 0 and teach nothing."""
        return ()

    @property
    def tapped(self) -> str | None:
        """Which state of the policy is aligned, for a person to read; None where none is."""
        return None

    @abstractmethod
    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        """The named, UNWEIGHTED scalars of the terms asked for, and detached metrics. No `.item()`, no host sync."""

    def forward(self, batch: Batch, terms: frozenset[str]) -> Losses:
        """`losses`, where DDP and FSDP hook in."""
        return self.losses(batch, terms)

    def after_step(self) -> None:
        """Called after every optimiser step, also where a non-finite one left the weights alone (moving averages)."""

    def after_load(self) -> None:
        """Called once after parts were loaded from another run."""

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        """An action chunk, normalised; integration from noise in `steps` steps.

        Args:
            generator: makes the noise repeatable.

        Raises:
            ConfigError: for a system that has nothing to act with.
        """
        raise ConfigError(f"{type(self).__name__} cannot act; train a policy")

    def intervene(self, use: str) -> None:
        """From now on, what the actions get of the latents that are generated beside them: "use" is everything.

        Raises:
            ConfigError: for a system that generates no latents, or an intervention that it does not know.
        """
        if use != "use":
            raise ConfigError(f"{type(self).__name__} generates no latents to {use}; leave client.latents at 'use'")
