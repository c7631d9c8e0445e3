"""ALAM (paper 004), transfer: every step's latent transition and action, generated together.

    z_t = E(I_t, I_{t+1}), t = 1..H, per view; continuous, from a frozen encoder without quantiser and decoder (Eq. 10)
    [z_1^view1, z_1^view2, u_1, ..., z_H^view1, z_H^view2, u_H]         layout interleaved                      (Eq. 11)
    L = sum over views w |v^m - target^m|_1 + w |v^u - target^u|_1      one tau for all                  (Eqs. 12 - 14)

The paper's time runs from data to noise; ours is flipped at the process (`policy.process.FlowMatching`), and |v|_1 does
not see the sign. The variants of Table 3 are the policy's generation (`TwoStage`) and process (`Diffusion`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from lara.errors import ConfigError
from lara.lam.transitions import TransitionEncoder
from lara.losses.flow import velocity_l1
from lara.policy.policy import Policy
from lara.systems.couplings.cogeneration import CoGeneration, Error
from lara.types import Batch


class StepLatents(CoGeneration):
    """policy: over the layout `interleaved`, one latent stream per camera of the batch. lam: ALAM's, or any other (one
    learned on pairs is the table's "LAM").

    error: L1 (the paper); a diffusion variant may want `velocity_mse`. Terms: latent_1, latent_2, ... (in the order of
    data.lam.cameras), action.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, error: Error = velocity_l1) -> None:
        super().__init__(error=error)

    def targets(self, policy: Policy, lam: Any, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As `latents` says, or from labels (`data.lam.latents`), for which no LAM is needed."""
        if batch.latents_BTVD is None or batch.latent_mask_BT is None:
            return super().targets(policy, lam, batch)
        names, horizon = self.streams, policy.expert.horizon
        steps, cameras = batch.latents_BTVD.shape[1:3]
        if (steps, cameras) != (horizon, len(names)):
            raise ConfigError(
                f"a chunk of {horizon} actions has {horizon} latents of {len(names)} camera(s), labels give {steps} "
                f"of {cameras}; set data.lam.latents.steps and roots, and the views of policy.expert.layout"
            )
        z = {name: batch.latents_BTVD[:, :, k] for k, name in enumerate(names)}
        return z, dict.fromkeys(names, batch.latent_mask_BT)

    def latents(
        self, policy: Policy, lam: TransitionEncoder, batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        frames, cameras = batch.frames_BFVCHW.shape[1:3]
        names, horizon = self.streams, policy.expert.horizon
        if (frames, cameras) != (horizon + 1, len(names)):
            raise ConfigError(
                f"a chunk of {horizon} actions has the latents of {horizon + 1} frames of {len(names)} camera(s), got "
                f"{frames} of {cameras}; set data.lam.frames to lara.data.lam_inputs.sampling.Clip(count=horizon + 1), "
                "data.lam.cameras, and the views of policy.expert.layout"
            )
        mask = batch.frame_mask_BF
        real_BH = mask[:, :-1] & mask[:, 1:]
        z = {name: lam.transitions(batch.frames_BFVCHW[:, :, k]).flatten(2) for k, name in enumerate(names)}
        return z, dict.fromkeys(names, real_BH)
