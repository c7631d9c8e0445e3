"""A latent action model that predicts what a frozen encoder will see, not the pixels (UniVLA's form).

    tokens_hat_j = decoder(tokens_i, bottleneck(z));   reconstruction = mean |tokens_hat_j - tokens_j|^2

The encoder is frozen here, whatever it is: if it learned, a constant would be the easiest thing to predict.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from lara.lam.model import LatentActionModel
from lara.losses.reconstruction import feature_mse
from lara.ops.masks import masked_mean


class FeatureActionModel(LatentActionModel):
    """encoder, former, space, queries: as in LatentActionModel; the encoder is frozen.

    decoder: factory of a `lam.decoders.features.TokenDecoder`, called with queries=, dim=, tokens= and context_width=.
    There are no pixels, so no LPIPS and no PSNR: the quality is a relative error, see `quality`.
    """

    buildable: ClassVar[str] = "model"

    measure = "error"

    def __init__(
        self,
        *,
        encoder: Any,
        former: Callable[..., nn.Module],
        space: Any,
        decoder: Callable[..., nn.Module],
        queries: int = 8,
    ) -> None:
        encoder.requires_grad_(False)
        super().__init__(
            encoder=encoder,
            former=former,
            space=space,
            decoder=partial(decoder, tokens=encoder.tokens, context_width=encoder.width),
            queries=queries,
        )

    def decode(self, now: Float[Tensor, "B P E"], z_BQD: Float[Tensor, "B Q D"]) -> Float[Tensor, "B P E"]:
        """The predicted future tokens; `now` the current frame's; z as it comes out of the bottleneck."""
        predicted: Tensor = self.decoder(now, z_BQD)
        return predicted

    def source(self, frames_BCHW: UInt8[Tensor, "B C h w"], tokens_BPE: Float[Tensor, "B P E"]) -> Tensor:
        """What `decode` starts from: the current frame's tokens."""
        return tokens_BPE

    def target(self, frames_BCHW: UInt8[Tensor, "B C h w"], tokens_BPE: Float[Tensor, "B P E"]) -> Tensor:
        """What `decode` should give: the future frame's tokens."""
        return tokens_BPE.detach()

    def error(
        self, prediction: Float[Tensor, "B P E"], target: Float[Tensor, "B P E"], mask_B: Bool[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """The reconstruction term, in the encoder's own units."""
        return feature_mse(prediction, target, mask_B)

    @torch.no_grad()
    def quality(
        self,
        prediction: Float[Tensor, "B P E"],
        target: Float[Tensor, "B P E"],
        now: Float[Tensor, "B P E"],
        mask_B: Bool[Tensor, " B"],
    ) -> dict[str, Tensor]:
        """Mean squared errors of the prediction ("error") and of copying the current tokens ("error_copy"), both
        divided by the variance of the target's tokens, so that encoders can be compared: 0 is perfect, 1 is the mean
        token everywhere."""
        return {"error": _relative(prediction, target, mask_B), "error_copy": _relative(now, target, mask_B)}


def _relative(tokens_BPE: Tensor, target_BPE: Tensor, mask_B: Tensor) -> Tensor:
    tokens, target = tokens_BPE.float(), target_BPE.float()
    real = mask_B[:, None, None]
    n = (mask_B.sum() * target.shape[1]).clamp(min=1)
    mean_E = torch.where(real, target, 0.0).sum(dim=(0, 1)) / n
    variance = masked_mean((target - mean_E).square(), real)
    return masked_mean((tokens - target).square(), real) / variance.clamp(min=torch.finfo(torch.float32).tiny)
