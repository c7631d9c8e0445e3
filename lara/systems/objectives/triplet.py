"""What ALAM and RotVLA share: three frames a < b < c of one video, each encoded once, read in pairs by name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lara.lam.model import LatentActionModel, Steps
from lara.systems.objectives.objective import LamRead, Objective
from lara.systems.views import fold_views
from lara.types import Batch, Losses

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
        images, mask = fold_views(batch, 3, hint="data.lam.frames to a lara.data.lam_inputs.sampling.Triplet")
        return cls(images, lam.encode_frames(images), mask)

    def raw(self, lam: LatentActionModel, pairs: Sequence[str]) -> Tensor:
        """(n * B, Q, D): what the former reads from each pair, before the latent space. No pair is read twice."""
        new = [pair for pair in pairs if pair not in self._raw]
        if new:
            now = torch.cat([self.tokens_BFPE[:, PLACES[pair[0]]] for pair in new])
            read: Tensor = lam.former(now, torch.cat([self.tokens_BFPE[:, PLACES[pair[1]]] for pair in new]))
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

    def steps(self, start: str, end: str) -> Steps:
        """n * B steps from the frames at the places `start` to those at the places `end`, e.g. "ab" to "bc"."""
        return Steps(self.frames(start), self.tokens(start), self.frames(end), self.tokens(end))

    def mask(self, pairs: Sequence[str]) -> Tensor:
        """(n * B,): whether all frames of each pair (or of a word such as "abc") are real."""
        return torch.cat([torch.stack([self.mask_BF[:, PLACES[p]] for p in word]).all(dim=0) for word in pairs])


class TripletObjective(Objective):
    """An objective on triplets. Beside a policy it is the latent from a to c that is aligned, so that c must be the
    policy's future frame (data.lam_inputs.sampling.Between)."""

    @abstractmethod
    def losses(self, lam: Any, triplet: Triplet, terms: frozenset[str]) -> Losses:
        """The terms asked for, under "lam." names, and metrics."""

    def read(self, lam: Any, batch: Batch, terms: frozenset[str]) -> LamRead:
        triplet = Triplet.encode(lam, batch)
        losses = self.losses(lam, triplet, terms) if terms else Losses({}, {})
        ends = [PLACES["a"], PLACES["c"]]
        return LamRead(
            triplet.frames_BFCHW[:, ends],
            triplet.tokens_BFPE[:, ends],
            triplet.mask(["ac"]),
            lambda: lam.space.project(triplet.raw(lam, ["ac"])),
            losses,
        )
