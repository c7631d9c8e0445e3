"""A slowly moving copy of a latent action model, as the target of an alignment (`align.target: ema`)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel


class EMATarget(nn.Module):
    """A moving average of what turns frames into z. A frozen encoder is shared, not copied."""

    def __init__(self, lam: LatentActionModel, decay: float) -> None:
        super().__init__()
        if not isinstance(lam, LatentActionModel):
            raise ConfigError(
                f"align.target=ema follows encoder and former of a LatentActionModel, got {type(lam).__name__}; use "
                "online"
            )
        self.decay = decay
        learned = any(p.requires_grad for p in lam.encoder.parameters())
        self.encoder = copy.deepcopy(lam.encoder) if learned else None
        self.former: Any = copy.deepcopy(lam.former)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> EMATarget:
        return super().train(False)

    @torch.no_grad()
    def latent(self, lam: LatentActionModel, frames_BFCHW: Tensor, tokens_BFPE: Tensor | None) -> Tensor:
        """(B, Q, D). tokens_BFPE: the online encoder's, used as they are when the encoder is frozen."""
        if self.encoder is not None:
            tokens_BFPE = self.encoder(frames_BFCHW.flatten(0, 1)).unflatten(0, frames_BFCHW.shape[:2])
        assert tokens_BFPE is not None  # every objective of a LatentActionModel has them
        target: Tensor = lam.space.project(self.former(tokens_BFPE[:, 0], tokens_BFPE[:, 1]))
        return target

    @torch.no_grad()
    def follow(self, lam: LatentActionModel) -> None:
        """One step towards the online weights; called after every optimiser update."""
        pairs = [(self.former, lam.former)] + ([(self.encoder, lam.encoder)] if self.encoder is not None else [])
        for mine, online in pairs:
            torch._foreach_lerp_(list(mine.parameters()), list(online.parameters()), 1.0 - self.decay)

    @torch.no_grad()
    def restart(self, lam: LatentActionModel) -> None:
        """Equal to the online weights; called after a LAM was loaded from another run."""
        self.former.load_state_dict(lam.former.state_dict())
        if self.encoder is not None:
            self.encoder.load_state_dict(lam.encoder.state_dict())
