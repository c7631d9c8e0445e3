"""LatBot (paper 002), stage 1: its latent action model, from clips, instructions and the actions between the frames.

    loss = |V_{t+k} - V_hat|^2 + |A_{t:t+k} - A_hat|^2  (+ LPIPS)          the weights are not in the paper

The frames come from `Batch.frames_BFVCHW` (of one camera; a pair, or `lam_inputs.sampling.Clip`), words and state
from the observation, actions from the batch, as `data.actions` represents them. Video without actions feeds the frame's
term alone.
>>>>>>> house
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from lara.errors import ConfigError
from lara.lam.latbot import LatBotLam
from lara.systems.objectives.objective import LamRead, Objective, own_names, under_lam
from lara.types import Batch, Losses


class Clips(Objective):
    """Terms: lam.reconstruction, lam.action, lam.lpips if the model has LPIPS."""

    buildable: ClassVar[str] = "model"

    def check(self, lam: Any) -> None:
        if not isinstance(lam, LatBotLam):
            raise ConfigError(f"objective=clips trains a LatBotLam, got {type(lam).__name__}; choose lam=latbot")

    def terms(self, lam: LatBotLam) -> tuple[str, ...]:
        return tuple(f"lam.{name}" for name in lam.terms())

    def action_terms(self, lam: LatBotLam) -> tuple[str, ...]:
        """The unified decoder's actions."""
        return ("lam.action",)

    def read(self, lam: LatBotLam, batch: Batch, terms: frozenset[str]) -> LamRead:
        frames, real = clip(batch), batch.frame_mask_BF.all(dim=1)
        latent = lam.encode(frames, batch.observation.instruction)
        losses = Losses({}, {})
        if terms:
            state, actions = batch.observation.state_BS, batch.actions_BHA
            own = lam.losses(frames, latent, state, actions, batch.action_mask_BHA, real, own_names(terms))
            losses = under_lam(own)
        return LamRead(frames[:, [0, -1]], None, real, lambda: latent.z_BQD, losses)


def clip(batch: Batch) -> Tensor:
    """(B, F, 3, h, w) uint8: the frames of the one camera. Raises ConfigError for several cameras or none."""
    cameras = batch.frames_BFVCHW.shape[2]
    if cameras != 1:
        raise ConfigError(f"LatBot reads one camera, got {cameras}; set data.lam.cameras to one camera name")
    return batch.frames_BFVCHW[:, :, 0]
