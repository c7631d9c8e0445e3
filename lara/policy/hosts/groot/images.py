"""What GR00T does to a camera image before its image-text model: crop the middle, resize, cut into Qwen's patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor


def crop_and_resize(images: UInt8[Tensor, "N C h w"], *, edge: int | None, crop: float) -> UInt8[Tensor, "N C h2 w2"]:
    """Shorter edge to `edge`, the middle `crop` of both sides, shorter edge to `edge` again (N1.6, N1.7 at test time).

    edge None: no resizing. crop 1.0: no cropping. Antialiased bilinear; the vendor's is OpenCV's area interpolation,
    whose pixels differ by rounding when the size hardly changes.
    """
    images = _shorter_edge(images, edge)
    if crop < 1.0:
        height, width = (max(1, int(n * crop)) for n in images.shape[-2:])
        top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
        images = _shorter_edge(images[..., top : top + height, left : left + width], edge)
    return images


def _shorter_edge(images: Tensor, edge: int | None) -> Tensor:
    height, width = images.shape[-2:]
    if edge is None or min(height, width) == edge:
        return images
    ratio = edge / min(height, width)
    size = (round(height * ratio), round(width * ratio))
    resized = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8)


def qwen_patches(
    images: UInt8[Tensor, "N C h w"], *, patch: int, merge: int, frames: int
) -> tuple[Float[Tensor, "NP D"], Int[Tensor, "N 3"]]:
    """Pixels as Qwen-VL's image encoder wants them, and the grid (1, rows, columns) of patches of each image.

    Normalised to [-1, 1], repeated over `frames` (the temporal patch), cut into `patch`-sized squares that are ordered
    so that merge x merge neighbours are adjacent; D = C * frames * patch^2. h and w must be multiples of patch * merge.
    """
    n, c, height, width = images.shape
    rows, columns = height // patch, width // patch
    x = images.float() / 127.5 - 1.0
    x = x.reshape(n, c, rows // merge, merge, patch, columns // merge, merge, patch)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # image, row, column, row in merge, column in merge, channel, patch
    x = x.unsqueeze(6).expand(*x.shape[:6], frames, *x.shape[6:])
    grid = torch.tensor([[1, rows, columns]], device=images.device).expand(n, 3)
    return x.reshape(n * rows * columns, c * frames * patch**2), grid
