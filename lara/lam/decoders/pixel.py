"""The pixel decoder: current frame and latent action in, future frame out (LARA's forward dynamics model)."""

from __future__ import annotations

from typing import ClassVar

from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.nn.images import PixelNormalizer
from lara.nn.vit import PatchEmbed, Trunk, learned_positions


class PixelDecoder(nn.Module):
    """A ViT on the pixels of the current frame; the Q latent tokens, flattened, are added to every patch ("add"
    fusion, Moto-GPT) and a linear head paints each patch.

    residual: predict the change and add it to the current frame. The release predicts the frame itself (False); a
        small decoder with a short schedule reaches a useful picture much sooner when it need not repaint what stays.

    Works in normalised pixels ((x/255 - 0.5)/0.5); `normalizer.to_unit` goes back to [0, 1].
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        image_size: int,
        patch: int,
        queries: int,
        dim: int,
        width: int,
        heads: int,
        layers: int,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.side = image_size // patch
        self.residual = residual
        self.normalizer = PixelNormalizer()
        self.embed = PatchEmbed(image_size=image_size, patch=patch, width=width)
        self.positions = learned_positions(self.embed.tokens, width)
        self.up = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, width))
        self.fuse = nn.Linear(queries * width, width)
        self.trunk = Trunk(width=width, heads=heads, layers=layers)
        self.head = nn.Linear(width, 3 * patch * patch)
        if residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, now: UInt8[Tensor, "B C h w"], z_BQD: Float[Tensor, "B Q D"]) -> Float[Tensor, "B C h w"]:
        """The predicted future frame in normalised pixels."""
        pixels = self.normalizer(now)
        motion = self.fuse(self.up(z_BQD).flatten(1))[:, None]
        x = self.trunk(self.embed(pixels) + self.positions + motion)
        out = rearrange(
            self.head(x), "b (h w) (c p q) -> b c (h p) (w q)", h=self.side, p=self.patch, q=self.patch, c=3
        )
        image: Tensor = pixels + out if self.residual else out
        return image
