"""The latent action model: encoder + latent space + decoder.

    z = space.project(former(encode(I_i), encode(I_j)));   I_hat_j = decoder(I_i, bottleneck(z))

The same pair always gives the same z: no dropout, no patch shuffling, no noise anywhere on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from lara.lam.quality import both_real, frame_quality, others
from lara.losses.reconstruction import feature_mse, pixel_mse
from lara.types import LatentAction, Losses


class Steps(NamedTuple):
    """n steps from one frame to another: uint8 (n, C, h, w), and the encoder's tokens (n, P, E), of both ends."""

    now: Tensor
    now_tokens: Tensor
    future: Tensor
    future_tokens: Tensor


class LatentActionModel(nn.Module):
    """encoder: frames -> tokens. former: two frames' tokens -> raw latent. space: a LatentSpace. decoder: pixels out.

    encoder, former, decoder and space may be built here from shared numbers, or given ready-made; `former` and
    `decoder` are factories that receive the sizes they depend on (tokens, context_width, queries, dim).

    perceptual: optional LPIPS module (term "lpips"). features: reconstruct the encoder's tokens too (term "feature").
    reads_state: whether decoding needs the state (LatBot's may).

    What is reconstructed is asked through `source`, `target`, `error`, `quality`: pixels here, the encoder's tokens in
    lam.features. measure: the name of that quality, for the log ("psnr", beside "psnr_copy" and "psnr_other_latent").
    """

    buildable: ClassVar[str] = "model"

    measure = "psnr"
    reads_state = False

    def __init__(
        self,
        *,
        encoder: Any,
        former: Callable[..., nn.Module],
        space: Any,
        decoder: Callable[..., nn.Module],
        queries: int = 8,
        perceptual: nn.Module | None = None,
        features: bool = False,
    ) -> None:
        super().__init__()
        self.queries = queries
        self.encoder: Any = encoder
        self.space: Any = space
        self.former: Any = former(tokens=encoder.tokens, context_width=encoder.width, queries=queries, dim=space.dim)
        self.decoder: Any = decoder(queries=queries, dim=space.dim)
        self.perceptual: Any = perceptual
        self.features = features

    @property
    def latent_dim(self) -> int:
        """Q * D, the length of the concatenated latent that LARA aligns."""
        size: int = self.queries * self.space.dim
        return size

    def parts(self) -> dict[str, nn.Module]:
        parts = {
            "encoder": self.encoder,
            "former": self.former,
            "space": self.space,
            "decoder": self.decoder,
        }
        return parts if self.perceptual is None else {**parts, "perceptual": self.perceptual}

    def terms(self) -> tuple[str, ...]:
        optional = ("lpips",) * (self.perceptual is not None) + ("feature",) * self.features
        return ("reconstruction", *self.space.terms(), *optional)

    def encode_frames(self, frames_BFCHW: UInt8[Tensor, "B F C h w"]) -> Float[Tensor, "B F P E"]:
        """Tokens of every frame, each encoded exactly once."""
        tokens: Tensor = self.encoder(frames_BFCHW.flatten(0, 1)).unflatten(0, frames_BFCHW.shape[:2])
        return tokens

    def latent(self, tokens_BFPE: Float[Tensor, "B F P E"]) -> LatentAction:
        """The continuous latent between frame 0 and frame 1 (before any bottleneck)."""
        return LatentAction(z_BQD=self.space.project(self.former(tokens_BFPE[:, 0], tokens_BFPE[:, 1])))

    def export(self, tokens_BFPE: Float[Tensor, "B F P E"]) -> LatentAction:
        """The latent that leaves the model, for labels, probes and policies: the continuous one (003, 004)."""
        return self.latent(tokens_BFPE)

    def encode(self, frames_BFCHW: UInt8[Tensor, "B F C h w"]) -> LatentAction:
        """Frames at t and t + H -> what changed, as it leaves the model."""
        return self.export(self.encode_frames(frames_BFCHW))

    def decode(self, now: UInt8[Tensor, "B C h w"], z_BQD: Float[Tensor, "B Q D"]) -> Float[Tensor, "B C h w"]:
        """The predicted future frame, in the decoder's normalised pixels; z as it comes out of the bottleneck."""
        predicted: Tensor = self.decoder(now, z_BQD)
        return predicted

    def losses(
        self,
        frames_BFCHW: UInt8[Tensor, "B F C h w"],
        tokens_BFPE: Float[Tensor, "B F P E"],
        latent: LatentAction,
        mask_B: Bool[Tensor, " B"],
        terms: frozenset[str],
    ) -> Losses:
        """The terms asked for (names without the "lam." prefix), over samples whose two frames are real."""
        bottleneck = self.space.bottleneck(latent.z_BQD, mask_B)
        computed, metrics = dict(bottleneck.terms), dict(bottleneck.metrics)
        if terms & {"reconstruction", "lpips", "feature"}:
            steps = Steps(frames_BFCHW[:, 0], tokens_BFPE[:, 0], frames_BFCHW[:, 1], tokens_BFPE[:, 1])
            decoded = self.compare(steps, bottleneck.z, mask_B, terms)
            computed |= decoded.terms
            metrics |= decoded.metrics
        return Losses({name: computed[name] for name in self.terms() if name in terms}, metrics)

    def compare(
        self, steps: Steps, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"], terms: frozenset[str]
    ) -> Losses:
        """What comes out of the decoder, against the frames at the end of each step.

        Args:
            z_BQD: as it comes out of the bottleneck, one latent per step.
            mask_B: the steps whose two frames are real.
            terms: the model's own names; lpips and feature are computed only if they are here, reconstruction always.

        Returns:
            Terms reconstruction, lpips and feature; metrics of `quality`, and, except while training, `measure` with
            another sample's latent.
        """
        now, target = self.source(steps.now, steps.now_tokens), self.target(steps.future, steps.future_tokens)
        prediction = self.decode(now, z_BQD)
        computed = {"reconstruction": self.error(prediction, target, mask_B)}
        if "lpips" in terms:
            computed["lpips"] = self.lpips(prediction, target, mask_B)
        if "feature" in terms:
            predicted = self.encoder.forward_unit(self.decoder.normalizer.to_unit(prediction))
            computed["feature"] = feature_mse(predicted, steps.future_tokens, mask_B)
        metrics = self.quality(prediction, target, now, mask_B)
        if not self.training:
            # a second pass of the decoder
            with torch.no_grad():
                swapped = self.decode(now, others(z_BQD))
                quality = self.quality(swapped, target, now, both_real(mask_B))
            metrics[f"{self.measure}_other_latent"] = quality[self.measure]
        return Losses(computed, metrics)

    def step_error(self, steps: Steps, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
        """The reconstruction term alone, of steps decoded with these latents."""
        now, target = self.source(steps.now, steps.now_tokens), self.target(steps.future, steps.future_tokens)
        return self.error(self.decode(now, z_BQD), target, mask_B)

    def source(self, frames_BCHW: UInt8[Tensor, "B C h w"], tokens_BPE: Float[Tensor, "B P E"]) -> Tensor:
        """What `decode` starts from: the current frame."""
        return frames_BCHW

    def target(self, frames_BCHW: UInt8[Tensor, "B C h w"], tokens_BPE: Float[Tensor, "B P E"]) -> Tensor:
        """What `decode` should give: the future frame in the decoder's normalised pixels."""
        pixels: Tensor = self.decoder.normalizer(frames_BCHW)
        return pixels

    def error(self, prediction: Tensor, target: Tensor, mask_B: Bool[Tensor, " B"]) -> Float[Tensor, ""]:
        """The reconstruction term."""
        return pixel_mse(prediction, target, mask_B)

    def lpips(
        self, prediction: Float[Tensor, "B C h w"], target: Float[Tensor, "B C h w"], mask_B: Bool[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """The term "lpips", which exists where `perceptual` does; both images normalised."""
        to_unit = self.decoder.normalizer.to_unit
        distance: Tensor = self.perceptual(to_unit(prediction), to_unit(target), mask_B)
        return distance

    @torch.no_grad()
    def quality(
        self,
        prediction: Float[Tensor, "B C h w"],
        target: Float[Tensor, "B C h w"],
        now: UInt8[Tensor, "B C h w"],
        mask_B: Bool[Tensor, " B"],
    ) -> dict[str, Tensor]:
        """Mean PSNR in dB of the prediction and of copying the current frame; prediction and target normalised."""
        return frame_quality(self.decoder.normalizer, prediction, target, now, mask_B)
