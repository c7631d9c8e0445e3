"""How good a decoder is, and whether it listens to its latent.

The control that no loss curve shows: every sample decoded with another sample's latent, the next row's. As good as with
its own: the latent is not listened to, however well the decoder predicts. Wherever it is logged its name is that of the
measure followed by "_other_latent".
"""

from __future__ import annotations

import torch
from torch import Tensor

from lara.nn.images import PixelNormalizer
from lara.ops.images import psnr
from lara.ops.masks import masked_mean


def others(z: Tensor) -> Tensor:
    """Row i gets the latent of row i - 1, the first that of the last; neighbours must be different samples."""
    return z.roll(1, dims=0)


def both_real(mask_B: Tensor) -> Tensor:
    """Where a row and the row that lends it a latent are real."""
    return mask_B & mask_B.roll(1)


@torch.no_grad()
def frame_quality(
    normalizer: PixelNormalizer, prediction: Tensor, target: Tensor, now: Tensor, mask_B: Tensor
) -> dict[str, Tensor]:
    """Mean PSNR in dB of predicted frames ("psnr") and of copying the current ones ("psnr_copy").

    Args:
        prediction, target: (B, C, h, w), normalised. now: uint8. mask_B: which samples are real.
    """
    target = normalizer.to_unit(target)
    return {
        "psnr": masked_mean(psnr(normalizer.to_unit(prediction.float()), target), mask_B),
        "psnr_copy": masked_mean(psnr(now.float() / 255.0, target), mask_B),
    }
