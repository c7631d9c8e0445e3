"""What ALAM and RotVLA share: three frames a < b < c of one video, each encoded once, read in pairs by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.systems.objective import LamRead
from lara.systems.views import fold_views
from lara.types import ActionChunk, Batch, Losses, Observation

PLACES = {"a": 0, "b": 1, "c": 2}


@dataclass(frozen=True)
class Triplet:
    """frames_BFCHW: (B, 3, 3, h, w) uint8. tokens_BFPE: of the encoder. mask_BF: which frames are real.
    With V cameras, B is V times the batch's size.

    Pairs are named by two letters, "ab" being the step from a to b; a list of n pairs gives n * B rows, pair by pair.
    """

    frames_BFCHW: Tensor
    tokens_BFPE: Tensor
    mask_BF: Tensor
    _raw: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def encode(cls, lam: LatentActionModel, batch: Batch) -> Triplet:
        """Every frame once; each camera's triplets are samples of their own (see systems.views), so that with V cameras
        B here is V times the batch's. Raises ConfigError unless the batch holds three frames of at least one camera."""
        images, mask = fold_views(batch, 3, hint="data.frames to a lara.data.sampling.Triplet")
        return cls(images, lam.encode_frames(images), mask)

    def raw(self, lam: LatentActionModel, pairs: Sequence[str]) -> Tensor:
        """(n * B, Q, D): what the former reads from each pair, before the latent space. No pair is read twice."""
        new = [pair for pair in pairs if pair not in self._raw]
        if new:
            now = torch.cat([self.tokens_BFPE[:, PLACES[pair[0]]] for pair in new])
            read = lam.former(now, torch.cat([self.tokens_BFPE[:, PLACES[pair[1]]] for pair in new]))
            self._raw.update(zip(new, read.chunk(len(new)), strict=True))
            if new == list(pairs):  # the usual case, without joining again what was taken apart
                return read
        return torch.cat([self._raw[pair] for pair in pairs])

    def frames(self, places: str) -> Tensor:
        """(n * B, 3, h, w) uint8: the frames at these places, e.g. "ab" for those of a and then those of b."""
        return torch.cat([self.frames_BFCHW[:, PLACES[p]] for p in places])

    def tokens(self, places: str) -> Tensor:
        """(n * B, P, E): the same frames as the encoder sees them."""
        return torch.cat([self.tokens_BFPE[:, PLACES[p]] for p in places])

    def sources(self, lam: LatentActionModel, places: str) -> Tensor:
        """n * B rows of what lam.decode starts from at these places (pixels, or tokens)."""
        return lam.source(self.frames(places), self.tokens(places))

    def targets(self, lam: LatentActionModel, places: str) -> Tensor:
        """n * B rows of what lam.decode should give."""
        return lam.target(self.frames(places), self.tokens(places))

    def mask(self, pairs: Sequence[str]) -> Tensor:
        """(n * B,): whether all frames of each pair (or of a word such as "abc") are real."""
        return torch.cat([torch.stack([self.mask_BF[:, PLACES[p]] for p in word]).all(dim=0) for word in pairs])


class TripletObjective(ABC):
    """A `LamObjective` on triplets. Beside a policy it is the latent from a to c that is aligned, so that c must be the
    policy's future frame (data.sampling.Between)."""

    @abstractmethod
    def check(self, lam: Any) -> None:
        """Raises ConfigError for a LAM that this objective cannot train."""

    @abstractmethod
    def terms(self, lam: Any) -> tuple[str, ...]: ...

    @abstractmethod
    def losses(self, lam: Any, triplet: Triplet, terms: frozenset[str]) -> Losses: ...

    def read(self, lam: Any, batch: Batch, terms: frozenset[str]) -> LamRead:
        triplet = Triplet.encode(lam, batch)
        losses = self.losses(lam, triplet, terms) if terms else Losses({}, {})
        ends = [PLACES["a"], PLACES["c"]]
        return LamRead(
            triplet.frames_BFCHW[:, ends],
            triplet.tokens_BFPE[:, ends],
            lam.space.project(triplet.raw(lam, ["ac"])),
            triplet.mask(["ac"]),
            losses,
        )


class LamSystem(nn.Module, ABC):
    """The System contract for a latent action model alone; subclasses say `terms` and `losses`."""

    def __init__(self, lam: Any) -> None:
        super().__init__()
        self.lam: Any = lam

    def parts(self) -> dict[str, nn.Module]:
        return {f"lam.{name}": part for name, part in self.lam.parts().items()}

    @abstractmethod
    def terms(self) -> tuple[str, ...]: ...

    def action_terms(self) -> tuple[str, ...]:
        """None: frames are all it learns from; a subclass whose decoder answers with actions says otherwise."""
        return ()

    @abstractmethod
    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses: ...

    def forward(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.losses(batch, terms)

    def after_step(self) -> None:
        """Nothing follows the weights."""

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        raise ConfigError("a latent action model cannot act; train a policy on it")


class TripletSystem(LamSystem):
    """A latent action model alone, under an objective on triplets."""

    def __init__(self, lam: Any, objective: TripletObjective) -> None:
        objective.check(lam)
        super().__init__(lam)
        self.objective = objective

    def terms(self) -> tuple[str, ...]:
        return self.objective.terms(self.lam)

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.objective.losses(self.lam, Triplet.encode(self.lam, batch), terms)
