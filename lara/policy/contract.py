"""The contract of a policy that can be trained alone, aligned with a latent action model, or both.

Two kinds meet it: lara's own `Policy` (backbone + adapter + expert) and the policies made elsewhere (`policy/hosts/`).
A system never asks which of the two it holds.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from lara.types import ActionChunk, Observation


class FlowOutput(NamedTuple):
    """What `draws` noise draws of B samples gave; draw r of sample b is row r * B + b.

    velocity, target: (B * draws, H, A). states: name -> (B * draws, H, E) of the ACTION tokens, see
    policy.expert.tapped_state for the names. tau_B: (B * draws,), 0 = noise, 1 = data whatever the policy's own
    direction of time is; velocity and target point from noise to data.
    """

    velocity: Tensor
    target: Tensor
    states: dict[str, Tensor]
    tau_B: Tensor


class FlowPolicy(Protocol):
    """width: E of the states that `flow` names. blocks: L of its action expert, the depths that can be tapped.
    draws: noise draws per sample in one `flow`. parts(): name -> module, covering every parameter exactly once.
    """

    draws: int

    @property
    def width(self) -> int: ...

    @property
    def blocks(self) -> int: ...

    def parts(self) -> dict[str, nn.Module]: ...

    def flow(self, observation: Observation, actions_BHA: Tensor, mask_BHA: Tensor) -> FlowOutput: ...

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk: ...
