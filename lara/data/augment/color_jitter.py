"""Colour jitter of the policy's images: brightness, contrast, saturation and hue, in a random order.

RotVLA (001, Table 5) trains stages II and III with "ColorJitter" and stage I without. So the latent action model's
frames are never touched: they are what it learned from, and its latents stay targets of the scene, not of the jitter.
The paper gives no strengths; it follows X-VLA, whose code has 0.2, 0.2, 0.2 and 0 (the defaults here) and jitters each
view by itself, as is done here too: cameras differ in exposure and white balance.

A pure function of (seed, step, index, view). The adjustments are Pillow's, which torchvision uses for PIL images: whole
numbers and one thread, so the pixels depend on neither threads nor workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import numpy as np
from PIL import Image, ImageEnhance

from lara.data.order import random_words
from lara.errors import ConfigError

_ORDERS = np.array(list(permutations(range(4))))
_STREAMS = 5  # words per view: four strengths and the order
_FIRST = 16  # streams below belong to shifts and frame sampling


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """brightness, contrast, saturation s: a factor uniform in [max(0, 1 - s), 1 + s]; hue h, at most 0.5: a shift
    uniform in [-h, h] of a turn of the colour wheel. 0 leaves that adjustment out. (torchvision's ColorJitter.)"""

    buildable: ClassVar[str] = "data"

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.brightness, self.contrast, self.saturation, self.hue)
        if any(not 0 <= size < np.inf for size in sizes) or self.hue > 0.5:
            raise ConfigError(f"colour jitter needs strengths of at least 0, and hue of at most 0.5, got {self}")

    def draw(self, *, seed: int, step: int, index: np.ndarray, view: int) -> tuple[np.ndarray, np.ndarray]:
        """(B,) sample indices -> (B, 4) brightness, contrast, saturation factors and hue shift, and (B, 4) the order in
        which they are applied."""
        words = np.stack(
            [
                random_words(seed=seed, step=step, index=index, stream=_FIRST + _STREAMS * view + k)
                for k in range(_STREAMS)
            ],
            axis=1,
        )
        unit = (words[:, :4] >> np.uint64(11)) * 2.0**-53  # [0, 1)
        sizes = np.array([self.brightness, self.contrast, self.saturation, self.hue])
        low = np.concatenate([np.maximum(0.0, 1 - sizes[:3]), -sizes[3:]])
        high = np.concatenate([1 + sizes[:3], sizes[3:]])
        return low + (high - low) * unit, _ORDERS[words[:, 4] % np.uint64(len(_ORDERS))]

    def __call__(self, images: np.ndarray, *, seed: int, step: int, index: np.ndarray) -> np.ndarray:
        """(B, V, h, w, 3) uint8 images of the samples `index` (B,) -> the same, jittered; the input stays as it was."""
        used = [size > 0 for size in (self.brightness, self.contrast, self.saturation, self.hue)]
        out = images.copy()
        for view in range(images.shape[1]):
            factors, orders = self.draw(seed=seed, step=step, index=index, view=view)
            for i in range(len(images)):
                picture = Image.fromarray(images[i, view])
                for which in orders[i]:
                    if used[which]:
                        picture = _ADJUST[which](picture, float(factors[i, which]))
                out[i, view] = np.asarray(picture)
        return out


def _turned(picture: Image.Image, shift: float) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    # Pillow's hue is a byte: a wheel of 256 steps, on which sums wrap as hues do
    hue = hue.point([(h + int(shift * 255)) % 256 for h in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


_ADJUST: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor),
    lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor),
    lambda picture, factor: ImageEnhance.Color(picture).enhance(factor),
    _turned,
)
