"""The pictures of a batch: the policy's images and the LAM's frames, read once where they are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lara.data.augment.shifts import shift
from lara.data.frames.read import FrameReader


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Which views there are, and where their frames come from.

    Attributes:
        reader: of the dataset's frames.
        cameras, image_size: the policy's.
        lam_cameras, lam_image_size: the latent action model's.
    """

    reader: FrameReader
    cameras: tuple[str, ...]
    image_size: int
    lam_cameras: tuple[str, ...]
    lam_image_size: int

    def read(
        self, index: np.ndarray, *, offsets: np.ndarray, end: np.ndarray, shifts: np.ndarray | None
    ) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """The pictures of B samples.

        Args:
            index: (B,) frame numbers of the dataset.
            offsets: (B, F) of the LAM's frames, the first 0.
            end: (B,) one past the last frame of each sample's episode.
            shifts: (B, 2) pixels at image_size, or None.

        Returns:
            images (B, V, C, h, w) and frames (B, F, V2, C, h2, w2), uint8, and the frames' mask (B, F); frames past the
            end are 0. Images may be a view of the frames.
        """
        when = (index[:, None] + offsets)[:, : offsets.shape[1] * bool(self.lam_cameras)]
        mask = when < end[:, None]
        frames = self._tensor(np.where(mask, when, index[:, None]), self.lam_cameras, self.lam_image_size, shifts)
        frames[torch.from_numpy(~mask)] = 0
        if self.lam_cameras and self.cameras == self.lam_cameras and self.image_size == self.lam_image_size:
            return frames[:, 0], frames, mask
        return self._tensor(index[:, None], self.cameras, self.image_size, shifts)[:, 0], frames, mask

    def _tensor(self, when: np.ndarray, cameras: Sequence[str], size: int, shifts: np.ndarray | None) -> torch.Tensor:
        """(B, F) frame numbers -> (B, F, V, C, size, size) uint8."""
        images = self.reader.read(when, cameras, size)
        if shifts is not None and images.size:
            images = shift(images, np.rint(shifts * (size / self.image_size)).astype(np.int64))
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 3)))
