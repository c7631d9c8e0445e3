"""LatBot (paper 002), stage 1: its latent action model, from clips, instructions and the actions between the frames.

    loss = |V_{t+k} - V_hat|^2 + |A_{t:t+k} - A_hat|^2  (+ LPIPS)          the weights are not in the paper

The frames come from `Batch.frames_BFVCHW` (of one camera; a pair, or `data.sampling.Clip`), words and state from the
observation, actions from the batch, in the unified layout where `data.layout` says so. Video without actions feeds the
frame's term alone. Stages 2 and 3 are in `latbot_distill.py` and `latbot_finetune.py`.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from lara.errors import ConfigError
from lara.lam.latbot import LatBotLam
from lara.systems.triplet import LamSystem
from lara.types import Batch, Losses


class LatBot(LamSystem):
    """Terms: lam.reconstruction, lam.action, lam.lpips if the model has LPIPS."""

    buildable: ClassVar[str] = "model"

    def __init__(self, *, lam: LatBotLam) -> None:
        if not isinstance(lam, LatBotLam):
            raise ConfigError(f"LatBot trains a LatBotLam, got {type(lam).__name__}; choose lam=latbot")
        super().__init__(lam)

    def terms(self) -> tuple[str, ...]:
        return tuple(f"lam.{name}" for name in self.lam.terms())

    def action_terms(self) -> tuple[str, ...]:
        """The unified decoder's actions."""
        return ("lam.action",)

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        frames, real = clip(batch), batch.frame_mask_BF.all(dim=1)
        latent = self.lam.encode(frames, batch.observation.instruction)
        lam = self.lam.losses(
            frames,
            latent,
            batch.observation.state_BS,
            batch.actions_BHA,
            batch.action_mask_BHA,
            real,
            frozenset(t.removeprefix("lam.") for t in terms),
        )
        return Losses(
            {f"lam.{name}": value for name, value in lam.terms.items()},
            {f"lam.{name}": value for name, value in lam.metrics.items()},
        )


def clip(batch: Batch) -> Tensor:
    """(B, F, 3, h, w) uint8: the frames of the one camera. Raises ConfigError for several cameras or none."""
    cameras = batch.frames_BFVCHW.shape[2]
    if cameras != 1:
        raise ConfigError(f"LatBot reads one camera, got {cameras}; set data.lam_cameras to one camera name")
    return batch.frames_BFVCHW[:, :, 0]
