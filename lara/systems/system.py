"""The contract between the training loop and a method. The loop knows nothing else about LAMs, policies or papers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from lara.types import ActionChunk, Batch, Losses, Observation


@runtime_checkable
class System(Protocol):
    """An nn.Module that holds everything a method trains.

    parts():   names to modules, e.g. "lam.encoder", "policy.expert", "align.projector". Together they cover every
               parameter exactly once (train.stage checks it), so that a stage can say by name what learns.
    terms():   the names of all loss terms this system can compute, in a fixed order.
    action_terms(): those of terms() that are means over real actions: without any they are 0 and teach nothing.
    losses():  the named, unweighted scalar terms asked for in `terms`, and detached metrics. Also the module's forward,
               so that DDP/FSDP wrap it. No `.item()`, no host sync.
    after_step(): called once after every optimiser step (EMA targets), also where a non-finite one left the weights
                  alone; most systems do nothing.
    act():     an action chunk, normalised; Euler integration in `steps` steps. `generator` makes the noise repeatable.
    """

    def parts(self) -> dict[str, nn.Module]: ...

    def terms(self) -> tuple[str, ...]: ...

    def action_terms(self) -> tuple[str, ...]: ...

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses: ...

    def after_step(self) -> None: ...

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk: ...
