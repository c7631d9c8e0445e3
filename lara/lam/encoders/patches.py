"""A frame encoder trained from scratch: nothing to download (the demo's choice, and ALAM's in 004)."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.nn.images import PixelNormalizer
from lara.nn.vit import ConvStem, PatchEmbed, Trunk, learned_positions


class PatchEncoder(nn.Module):
    """(N, 3, image_size, image_size) uint8 frames -> (N, P, width) tokens.

    stem: "conv" (overlapping) or "patch" (one linear map per patch). layers: self-attention blocks after it.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self, *, image_size: int, patch: int, width: int, heads: int = 4, layers: int = 0, stem: str = "conv"
    ) -> None:
        super().__init__()
        self.width = width
        self.normalizer = PixelNormalizer()
        stems: dict[str, type[ConvStem | PatchEmbed]] = {"conv": ConvStem, "patch": PatchEmbed}
        self.stem = stems[stem](image_size=image_size, patch=patch, width=width)
        self.positions = learned_positions(self.stem.tokens, width)
        self.trunk = Trunk(width=width, heads=heads, layers=layers) if layers else nn.LayerNorm(width)

    @property
    def tokens(self) -> int:
        return self.stem.tokens

    def forward(self, frames: UInt8[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        return self._encode(self.normalizer(frames))

    def forward_unit(self, images: Float[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        """The same for float images in [0, 1] (a prediction), with gradient to them."""
        return self._encode(self.normalizer.from_unit(images))

    def _encode(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        tokens: Tensor = self.trunk(self.stem(x) + self.positions)
        return tokens
