"""Several cameras in one latent action model: each camera's frames are a sample of their own, the LAM is shared.

    (B, F, V, C, h, w)  ->  (V * B, F, C, h, w), row v * B + i being camera v of sample i

Every frame is still encoded once, and a camera's latent depends on that camera alone (ALAM 004, section 3.3:
view-specific transitions). The order is camera by camera, not sample by sample: "another sample's latent", which is the
next row's, then stays one of another sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lara.errors import ConfigError
from lara.types import Batch


def fold_views(batch: Batch, frames: int, *, hint: str) -> tuple[Tensor, Tensor]:
    """uint8 (V * B, F, C, h, w) and the mask (V * B, F) of which are real, F = `frames`.

    A frame that does not exist is missing in every camera. Raises ConfigError, ending in `hint`, unless the batch holds
    `frames` frames of at least one camera.
    """
    found, cameras = batch.frames_BFVCHW.shape[1:3]
    if found != frames or cameras < 1:
        raise ConfigError(
            f"this system reads {frames} frames of at least 1 camera, got {found} of {cameras}; set data.lam.cameras "
            f"to the LAM's cameras and {hint}"
        )
    # one camera: a plain view of the batch, so that nothing is copied in the usual case
    images = batch.frames_BFVCHW[:, :, 0] if cameras == 1 else torch.cat(list(batch.frames_BFVCHW.unbind(dim=2)))
    return images, batch.frame_mask_BF.repeat(cameras, 1)


def beside(z: Tensor, views: int) -> Tensor:
    """(V * B, Q, D) -> (B, V * Q, D): the views' latents of a sample after each other, in the order of the cameras."""
    return torch.cat(list(z.chunk(views)), dim=1)
