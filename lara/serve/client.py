"""The border between a policy and a body (simulator or robot): numpy in, numpy out, and nothing of torch.

A body asks a `PolicyClient` for a chunk of actions and hands over one observation, a plain dict:

    images       {camera: (h, w, 3) uint8 in [0, 255], upright, RGB}; only the cameras that the card names
    state        (S,) float32, in the body's units, in the order of the card's `observation.state`
    instruction  str
    key          tuple of non-negative ints: a counter for the policy's noise generator, (seed, task, episode, replan).
                 A policy draws its noise from this key alone, so that two runs of one episode are the same run.
    privileged   float64 vector of simulator state; present only for a card with `privileged=True`

Chunks come back in robot units, (h, A) float32, row 0 first; `check_actions` is what every body calls on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lara.errors import SpecError
from lara.specs import (
    ActionSpec,
    ObservationSpec,
    action_spec_from_dict,
    observation_spec_from_dict,
    spec_to_dict,
)


@dataclass(frozen=True, kw_only=True)
class PolicyCard:
    """What a policy says about itself before anything runs.

    Attributes:
        horizon: H, the number of actions in a chunk, at least 1.
        privileged: it needs simulator state; its success rates are marked and mean nothing for a real policy.
        image_size: side in pixels of the square images it wants, or None for the body's own.
        identity: which weights: a hash or a path. Two runs are runs of one policy only if their identities are equal.
        instructions: every sentence of its training data, sorted; None for a policy that learned from no data. A task
            of a body whose words are not among them was not trained.
    """

    name: str
    action: ActionSpec
    observation: ObservationSpec
    horizon: int
    privileged: bool
    image_size: int | None
    identity: str
    instructions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise SpecError(f"PolicyCard '{self.name}' needs a horizon of at least 1 action, got {self.horizon}")
        if self.image_size is not None and self.image_size < 1:
            raise SpecError(f"PolicyCard '{self.name}' needs a positive image_size or None, got {self.image_size}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; inverse of `card_from_dict`."""
        return {
            "name": self.name,
            "action": spec_to_dict(self.action),
            "observation": spec_to_dict(self.observation),
            "horizon": self.horizon,
            "privileged": self.privileged,
            "image_size": self.image_size,
            "identity": self.identity,
            "instructions": None if self.instructions is None else list(self.instructions),
        }


def card_from_dict(data: dict[str, Any]) -> PolicyCard:
    """Inverse of `PolicyCard.to_dict`. Raises SpecError for missing or unknown keys."""
    expected = set(PolicyCard.__dataclass_fields__)
    if set(data) != expected:
        raise SpecError(
            f"a policy card has the keys {sorted(expected)}, got {sorted(data)}; "
            "the two sides run different versions of lara"
        )
    return PolicyCard(
        **{
            **data,
            "action": action_spec_from_dict(data["action"]),
            "observation": observation_spec_from_dict(data["observation"]),
            "instructions": None if data["instructions"] is None else tuple(data["instructions"]),
        }
    )


@runtime_checkable
class PolicyClient(Protocol):
    """How every policy meets every body.

    card():  constant over the client's life.
    reset(): a new episode begins; forget everything about the last one.
    act():   (h, A) float32 in robot units, 1 <= h <= card().horizon.
    """

    def card(self) -> PolicyCard: ...

    def reset(self) -> None: ...

    def act(self, observation: dict[str, Any]) -> np.ndarray: ...


def check_actions(chunk: np.ndarray, spec: ActionSpec) -> tuple[np.ndarray, int]:
    """A chunk that is safe to execute, and how many of its numbers had to be clipped.

    Returns ((h, A) float32 within [spec.low, spec.high], count).

    Raises:
        SpecError: when the shape is not (h >= 1, A) or a number is not finite: a policy that says NaN has failed, and
            clipping would hide it.
    """
    chunk = np.asarray(chunk)
    if chunk.ndim != 2 or chunk.shape[0] < 1 or chunk.shape[1] != spec.dim:
        raise SpecError(
            f"a policy must return actions of shape (h >= 1, {spec.dim}) for {spec.names}, got {chunk.shape}; "
            "check that padding was cut off"
        )
    if not np.issubdtype(chunk.dtype, np.floating) or not np.isfinite(chunk).all():
        raise SpecError(
            f"a policy must return finite floats, got dtype {chunk.dtype} with "
            f"{int(np.size(chunk) - np.isfinite(chunk.astype(np.float64)).sum())} non-finite numbers; "
            "check its statistics and its weights"
        )
    low, high = np.asarray(spec.low, np.float32), np.asarray(spec.high, np.float32)
    clipped = np.clip(chunk.astype(np.float32), low, high)
    return clipped, int((clipped != chunk.astype(np.float32)).sum())


def resize_area(image: np.ndarray, size: int) -> np.ndarray:
    """(h, h, C) uint8 -> (size, size, C) uint8: the mean over blocks of h/size pixels, rounded half to even.

    Raises:
        SpecError: unless the image is square and h is a multiple of size: other ratios would need a filter that
            training has to share, so the body should render the size that the policy wants instead.
    """
    height, width = image.shape[:2]
    if image.dtype != np.uint8 or height != width or height % size:
        raise SpecError(
            f"cannot shrink a {height}x{width} {image.dtype} image to {size}x{size} by whole blocks; "
            f"render at a multiple of {size} pixels"
        )
    if height == size:
        return image
    k = height // size
    blocks = image.reshape(size, k, size, k, -1).astype(np.float64).mean(axis=(1, 3))
    small: np.ndarray = np.rint(blocks).astype(np.uint8)
    return small
