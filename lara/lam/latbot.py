"""LatBot's latent action model (002, sections 3.1-3.2): what an instruction and a clip say about scene and motion.

    z = space.project(former(V_t .. V_{t+k}, instruction))                                             (Eq. 1)
    V_hat_{t+k}, A_hat_{t:t+k} = decoder(V_t, z, state)

What the paper leaves open, and what is done here:
- the losses of the two ends and their balance: mean squared error of pixels, LPIPS if given, mean squared error of
  normalised actions, each a term of its own with its own mask and mean;
- how a frame can be "generated" without being denoised: in one deterministic pass (see decoders/sana.py);
- whether the decoder sees the state: section 6.1 defines one and names no reader. Here it is one token of the action
  stream, when the decoder is built with state_dim, and absent otherwise;
- "16-frame sequences": F frames have F - 1 actions between them. Here H is free: H actions from the first frame on.

An action is only asked for where the whole clip is real: a latent of frames past an episode's end knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.decoders.unified import UnifiedPrediction
from lara.lam.quality import both_real, frame_quality, others
from lara.latents.scene_motion import SceneMotionSpace
from lara.losses.reconstruction import pixel_mse
from lara.ops.masks import masked_mean
from lara.types import LatentAction, Losses


class LatBotLam(nn.Module):
    """former:  factory of a reader of frames and words, built as former(dim=, scene=, motion=): `VLMFormer`,
             `InstructedFormer`.
    space:   how many scene and motion tokens, of which width.
    decoder: factory of a `UnifiedDecoder`, built as decoder(queries=, dim=, scene=).
    perceptual: optional LPIPS module (term "lpips").
    frames:  F, of the clips that are read.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        former: Callable[..., nn.Module],
        space: SceneMotionSpace,
        decoder: Callable[..., nn.Module],
        perceptual: nn.Module | None = None,
        frames: int = 2,
    ) -> None:
        super().__init__()
        if frames < 2:
            raise ConfigError(f"a clip has at least 2 frames, got frames={frames}")
        self.frames = frames
        self.space = space
        self.former: Any = former(dim=space.dim, scene=space.scene, motion=space.motion)
        self.decoder: Any = decoder(queries=space.queries, dim=space.dim, scene=space.scene)
        self.perceptual: Any = perceptual

    @property
    def queries(self) -> int:
        return self.space.queries

    @property
    def latent_dim(self) -> int:
        """Q * D."""
        return self.space.queries * self.space.dim

    @property
    def reads_state(self) -> bool:
        reads: bool = self.decoder.state_dim > 0
        return reads

    def parts(self) -> dict[str, nn.Module]:
        parts = {"former": self.former, "space": self.space, "decoder": self.decoder}
        return parts if self.perceptual is None else {**parts, "perceptual": self.perceptual}

    def terms(self) -> tuple[str, ...]:
        return ("reconstruction", "action", *self.space.terms(), *("lpips",) * (self.perceptual is not None))

    def encode(self, frames_BFCHW: UInt8[Tensor, "B F C h w"], instruction: Sequence[str]) -> LatentAction:
        """Raises ConfigError for a clip of another length than the model was made for."""
        if frames_BFCHW.shape[1] != self.frames:
            raise ConfigError(
                f"this model reads clips of {self.frames} frames, got {frames_BFCHW.shape[1]}; set data.lam.frames and "
                "lam.frames to the same number"
            )
        return LatentAction(z_BQD=self.space.project(self.former(frames_BFCHW, tuple(instruction))))

    def decode_both(
        self,
        now: UInt8[Tensor, "B C h w"],
        z_BQD: Float[Tensor, "B Q D"],
        state_BS: Float[Tensor, "B S"] | None = None,
    ) -> UnifiedPrediction:
        """The future frame (normalised pixels) and the actions. state_BS: padded state, of which the decoder reads
        its first state_dim numbers; ignored by one without. Raises ConfigError when it is needed and too short."""
        if not self.reads_state:
            unconditioned: UnifiedPrediction = self.decoder(now, z_BQD)
            return unconditioned
        if state_BS is None or state_BS.shape[1] < self.decoder.state_dim:
            raise ConfigError(
                f"the decoder reads {self.decoder.state_dim} state numbers, got "
                f"{'none' if state_BS is None else state_BS.shape[1]}; set state_dim (and data.actions)"
            )
        prediction: UnifiedPrediction = self.decoder(now, z_BQD, state_BS[:, : self.decoder.state_dim])
        return prediction

    def decode(
        self,
        now: UInt8[Tensor, "B C h w"],
        z_BQD: Float[Tensor, "B Q D"],
        state_BS: Float[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B C h w"]:
        """The frame alone."""
        return self.decode_both(now, z_BQD, state_BS).frame

    def losses(
        self,
        frames_BFCHW: UInt8[Tensor, "B F C h w"],
        latent: LatentAction,
        state_BS: Float[Tensor, "B S"],
        actions_BHA: Float[Tensor, "B H A"],
        action_mask_BHA: Bool[Tensor, "B H A"],
        mask_B: Bool[Tensor, " B"],
        terms: frozenset[str],
    ) -> Losses:
        """The terms asked for. mask_B: samples whose clip is real.

        Metrics: psnr, psnr_copy (of copying the frame), action_of_mean (the action error of always saying the mean
        action of this very batch, which no constant can beat), and outside training psnr_other_latent and
        action_other_latent: both ends with the neighbour's latent. As good as with one's own: it is not listened to.
        """
        bottleneck = self.space.bottleneck(latent.z_BQD, mask_B)
        computed, metrics = dict(bottleneck.terms), dict(bottleneck.metrics)
        normalizer, now = self.decoder.normalizer, frames_BFCHW[:, 0]
        target = normalizer(frames_BFCHW[:, -1])
        out = self.decode_both(now, bottleneck.z, state_BS)
        real = action_mask_BHA & mask_B[:, None, None]
        if out.actions.shape != actions_BHA.shape:
            raise ConfigError(
                f"the decoder makes actions of (H, A) = {tuple(out.actions.shape[1:])}, the batch holds "
                f"{tuple(actions_BHA.shape[1:])}; set lam.decoder.horizon and action_dim to those of the data"
            )
        computed["reconstruction"] = pixel_mse(out.frame, target, mask_B)
        computed["action"] = action_mse(out.actions, actions_BHA, real)
        if "lpips" in terms:
            computed["lpips"] = self.perceptual(normalizer.to_unit(out.frame), normalizer.to_unit(target), mask_B)
        metrics |= frame_quality(normalizer, out.frame, target, now, mask_B)
        metrics["action_of_mean"] = _error_of_mean(actions_BHA, real)
        if not self.training:
            metrics |= self._with_another_latent(bottleneck.z, target, now, state_BS, actions_BHA, real, mask_B)
        return Losses({name: computed[name] for name in self.terms() if name in terms}, metrics)

    @torch.no_grad()
    def _with_another_latent(
        self,
        z_BQD: Tensor,
        target: Tensor,
        now: Tensor,
        state_BS: Tensor,
        actions_BHA: Tensor,
        real_BHA: Tensor,
        mask_B: Tensor,
    ) -> dict[str, Tensor]:
        both = both_real(mask_B)
        swapped = self.decode_both(now, others(z_BQD), state_BS)
        return {
            "psnr_other_latent": frame_quality(self.decoder.normalizer, swapped.frame, target, now, both)["psnr"],
            "action_other_latent": action_mse(swapped.actions, actions_BHA, real_BHA & both[:, None, None]),
        }


def action_mse(
    prediction_BHA: Float[Tensor, "B H A"], target_BHA: Float[Tensor, "B H A"], mask_BHA: Bool[Tensor, "B H A"]
) -> Float[Tensor, ""]:
    """Mean squared error over the real action numbers (002, section 3.2; the paper does not write its form)."""
    return masked_mean((prediction_BHA.float() - target_BHA.float()).square(), mask_BHA)


@torch.no_grad()
def _error_of_mean(actions_BHA: Tensor, mask_BHA: Tensor) -> Tensor:
    total = torch.where(mask_BHA, actions_BHA, 0.0).sum(dim=0)
    mean_HA = total / mask_BHA.sum(dim=0).clamp(min=1)
    return action_mse(mean_HA.expand_as(actions_BHA), actions_BHA, mask_BHA)
