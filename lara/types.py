"""The nouns that travel between parts, with THE legend of axis letters.

    B batch            F frames (0 = now, 1 = the future)   V views (cameras)     C colour channels
    P patches          E width                              Q latent queries      D latent dims per query
    H action horizon   A action dims (padded to A_max)      S state dims (padded to S_max)
    N rotation size    L blocks of the expert               K codes               T tokens

A tensor's name ends in its axes where that helps: `z_BQD`, `actions_BHA`. Images travel as uint8 in [0, 255] and are
normalised on the device by the part that reads them. Actions and states are normalised (see data.actions.normalize) and
padded with zeros; masks say what is real. Shapes are checked under pytest only (jaxtyping + beartype).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the policy may look at, at time t.

    Attributes:
        images_BVCHW: uint8 in [0, 255]; V = 0 for a policy that sees nothing.
        state_BS: normalised proprioception, zero-padded to S_max.
        instruction: B strings.
        embodiment_B: which robot's state/action MLPs to use, 0 <= id < slots.
        action_dims_BA: True for the action dims this robot has (the rest of A_max is padding and carries no noise).
    """

    images_BVCHW: UInt8[Tensor, "B V C height width"]
    state_BS: Float[Tensor, "B S"]
    instruction: tuple[str, ...]
    embodiment_B: Int[Tensor, " B"]
    action_dims_BA: Bool[Tensor, "B A"]

    def to(self, device: torch.device | str) -> Observation:
        return _move(self, device)

    def head(self, n: int) -> Observation:
        """The first n samples."""
        return _head(self, n)

    def __len__(self) -> int:
        return len(self.instruction)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B training samples.

    Attributes:
        actions_BHA: normalised, zero-padded to A_max and past the episode's end.
        action_mask_BHA: True where the number is a real action (a real dimension of a real time step); all False for
            samples without actions (human video).
        frames_BFVCHW: uint8 frames for the latent action model: F = 2, at t and t + H, or as data.lam.frames says (its
            cameras may differ from the policy's). F = 0 when nothing asks for them.
        frame_mask_BF: True where the frame exists. A future frame past the episode's end is False (and its pixels 0).
        index_B: the dataset index of each sample, for reports of bad samples.
        codes_BT: a LAM's code indices as tokens to predict, -1 where there is none; None if not asked for.
        latents_BTVD: a LAM's continuous latents from labels, of (t + k, t + k + gap) for k = 0 .. T - 1 in each of V
            cameras, queries side by side (D is its Q * D), 0 where there is none; None if not asked for.
        latent_mask_BT: True where that pair of frames exists.
    """

    observation: Observation
    actions_BHA: Float[Tensor, "B H A"]
    action_mask_BHA: Bool[Tensor, "B H A"]
    frames_BFVCHW: UInt8[Tensor, "B F V2 C height2 width2"]
    frame_mask_BF: Bool[Tensor, "B F"]
    index_B: Int[Tensor, " B"]
    codes_BT: Int[Tensor, "B T"] | None = None
    latents_BTVD: Float[Tensor, "B T2 V3 D"] | None = None
    latent_mask_BT: Bool[Tensor, "B T2"] | None = None

    def to(self, device: torch.device | str) -> Batch:
        return _move(self, device)

    def head(self, n: int) -> Batch:
        """The first n samples."""
        return _head(self, n)

    def __len__(self) -> int:
        return len(self.observation)


@dataclass(frozen=True, kw_only=True)
class ActionChunk:
    """H actions for each sample, normalised and padded as in `Batch`; serve.policy turns them into robot units."""

    actions_BHA: Float[Tensor, "B H A"]


@dataclass(frozen=True, kw_only=True)
class LatentAction:
    """What changed between two frames: the continuous latent before any bottleneck (paper 003, z_t before the VQ)."""

    z_BQD: Float[Tensor, "B Q D"]


class Losses(NamedTuple):
    """terms: named, UNWEIGHTED scalars that a stage weighs and sums. metrics: detached scalars, only for the log."""

    terms: dict[str, Tensor]
    metrics: dict[str, Tensor]


_Record = TypeVar("_Record", Observation, Batch)


def _map(record: _Record, tensor: Callable[[Tensor], Tensor], other: Callable[[Any], Any]) -> _Record:
    changed: dict[str, Any] = {}
    for f in fields(record):
        value = getattr(record, f.name)
        if isinstance(value, Tensor):
            changed[f.name] = tensor(value)
        elif isinstance(value, Observation):
            changed[f.name] = _map(value, tensor, other)
        else:
            changed[f.name] = other(value)
    return replace(record, **changed)


def _move(record: _Record, device: torch.device | str) -> _Record:
    return _map(record, lambda x: x.to(device, non_blocking=True), lambda x: x)


def _head(record: _Record, n: int) -> _Record:
    return _map(record, lambda x: x[:n], lambda x: None if x is None else x[:n])
