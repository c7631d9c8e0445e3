"""How far a predicted frame is from the real one. Each returns one scalar over the samples whose frames are real."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import CheckpointError, missing_extra
from lara.nn.weightless import weights_wanted
from lara.ops.masks import masked_mean, masked_mse


def pixel_mse(
    prediction: Float[Tensor, "B C h w"], target: Float[Tensor, "B C h w"], mask_B: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean squared error over real samples (003, Eq. 3, first term), in whatever units the images share."""
    return masked_mse(prediction, target, mask_B[:, None, None, None])


def feature_mse(
    prediction: Float[Tensor, "B P E"], target: Float[Tensor, "B P E"], mask_B: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean squared error between encoder tokens; the target side carries no gradient."""
    return masked_mse(prediction, target.detach(), mask_B[:, None, None])


class Perceptual(nn.Module):
    """LPIPS (Zhang et al. 2018) between images in [0, 1]; it converts
    to LPIPS' own [-1, 1] itself, because feeding it normalised pixels is a silent and common mistake.

    Args:
        network: "vgg" | "alex" | "squeeze".
        backbone_weights: "hub" (torchvision's cache or download) or the path of a local state dict in safetensors
            format; "random" is for tests only.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, network: str = "vgg", backbone_weights: str = "hub") -> None:
        super().__init__()
        try:
            import lpips
        except ImportError as error:
            raise missing_extra("lpips", "perceptual", "The LPIPS term") from error
        try:
            load = weights_wanted()
            self.lpips = lpips.LPIPS(
                net=network, pretrained=load, pnet_rand=backbone_weights != "hub" or not load, verbose=False
            )
        except OSError as error:
            raise CheckpointError(
                f"LPIPS needs the {network} weights, which could not be downloaded ({error}). Without network, pass "
                "a local file: lam.perceptual.backbone_weights=/path/to/features.safetensors, or drop the term: "
                "lam.perceptual=null"
            ) from error
        if backbone_weights not in ("hub", "random") and weights_wanted():
            from safetensors.torch import load_file

            self.lpips.net.load_state_dict(load_file(backbone_weights))
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Perceptual:
        """A fixed measure: never in train mode (its dropout would make it random)."""
        return super().train(False)

    def forward(
        self, prediction: Float[Tensor, "B C h w"], target: Float[Tensor, "B C h w"], mask_B: Bool[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Mean LPIPS over real samples. Both images in [0, 1]; the gradient reaches the prediction."""
        # LPIPS wants [-1, 1]; converting here keeps one range at the border
        distance = self.lpips(2.0 * prediction.clamp(0, 1) - 1.0, 2.0 * target - 1.0)
        return masked_mean(distance.flatten(), mask_B)
