"""Frames at t and t + H, and the LAM's own terms (LARA 003, Eq. 3; LAPA, Moto)."""

from __future__ import annotations

from typing import Any, ClassVar

from lara.lam.model import LatentActionModel
from lara.systems.objectives.objective import LamRead, Objective, check_pairwise, own_names, under_lam
from lara.systems.views import fold_views
from lara.types import Batch, Losses


class Pairs(Objective):
    """Terms: those of `LatentActionModel.losses`."""

    buildable: ClassVar[str] = "model"

    def check(self, lam: Any) -> None:
        check_pairwise(lam, "pairs")

    def terms(self, lam: LatentActionModel) -> tuple[str, ...]:
        return tuple(f"lam.{name}" for name in lam.terms())

    def read(self, lam: LatentActionModel, batch: Batch, terms: frozenset[str]) -> LamRead:
        frames, mask = fold_views(batch, 2, hint="data.lam.frames to null or a lara.data.lam_inputs.sampling.Pair")
        real = mask.all(dim=1)
        tokens = lam.encode_frames(frames)
        latent = lam.latent(tokens)
        losses = Losses({}, {})
        if terms:
            losses = under_lam(lam.losses(frames, tokens, latent, real, own_names(terms)))
        return LamRead(frames, tokens, real, lambda: latent.z_BQD, losses)
