"""What is done to the pictures of training batches, as pure functions of (seed, step, sample)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from lara.data.augment.color_jitter import ColorJitter
from lara.data.augment.shifts import random_shifts
from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """random_shift: pixels, at the policy's image size, of all of a sample's pictures alike; 0: off.
    color_jitter: of the policy's pictures; None: off."""

    buildable: ClassVar[str] = "data"

    random_shift: int = 0
    color_jitter: ColorJitter | None = None

    def __post_init__(self) -> None:
        if self.random_shift < 0:
            raise ConfigError(f"data.augment.random_shift is a number of pixels, 0 or more; got {self.random_shift}")

    def shifts(self, index: np.ndarray, *, seed: int, step: int) -> np.ndarray | None:
        """(B, 2) whole pixels, down and right, or None where nothing is shifted."""
        if not self.random_shift:
            return None
        return random_shifts(seed=seed, step=step, index=index, pixels=self.random_shift)

    def jitter(self, images_BVCHW: torch.Tensor, index: np.ndarray, *, seed: int, step: int) -> torch.Tensor:
        """A new tensor of the same shape, or the one given where colours stay: it may be a view of the LAM's frames."""
        if self.color_jitter is None or not images_BVCHW.numel():
            return images_BVCHW
        pixels = self.color_jitter(images_BVCHW.permute(0, 1, 3, 4, 2).numpy(), seed=seed, step=step, index=index)
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 2)))
