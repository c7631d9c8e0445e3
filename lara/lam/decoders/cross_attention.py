"""ALAM's pixel decoders: source patches and latent tokens meet, then a ViT paints the target frame (004, Eq. 6).

    I_hat_j = u( h([ f_a(z), f_b(patches of I_i) ]) )

f_a, f_b are linear, u is 12 layers deep (Table 5). Of h the paper says "a cross-attention block", but writes a
concatenation; both are here: `CrossAttentionDecoder` lets the patches read the latent once, `ConcatenateDecoder` puts
the latent before the patches in every layer.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.nn.cross import CrossBlock
from lara.nn.images import PixelNormalizer
from lara.nn.vit import PatchEmbed, Trunk, learned_positions


class _PatchPainter(nn.Module):
    """What both fusions share: frame -> patch tokens, latent -> latent tokens, trunk, patch tokens -> pixels."""

    def __init__(
        self,
        *,
        queries: int,
        dim: int,
        image_size: int,
        patch: int,
        width: int,
        heads: int,
        layers: int,
        expand: int = 1,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.patch, self.side, self.residual = patch, image_size // patch, residual
        self.latent_tokens = queries * expand
        self.width = width
        self.normalizer = PixelNormalizer()
        self.embed = PatchEmbed(image_size=image_size, patch=patch, width=width)
        self.positions = learned_positions(self.embed.tokens, width)
        self.up = nn.Linear(dim, expand * width)
        self.latent_positions = learned_positions(self.latent_tokens, width)
        self.trunk = Trunk(width=width, heads=heads, layers=layers)
        self.head = nn.Linear(width, 3 * patch * patch)
        if residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def _tokens(self, pixels: Tensor, z_BQD: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.up(z_BQD).reshape(len(z_BQD), self.latent_tokens, self.width) + self.latent_positions
        return self.embed(pixels) + self.positions, latent

    def _paint(self, pixels: Tensor, x_BPE: Tensor) -> Tensor:
        out = rearrange(
            self.head(x_BPE), "b (h w) (c p q) -> b c (h p) (w q)", h=self.side, p=self.patch, q=self.patch, c=3
        )
        image: Tensor = pixels + out if self.residual else out
        return image


class CrossAttentionDecoder(_PatchPainter):
    """Current frame and latent -> future frame; every source patch asks the latent tokens what happens to it.

    expand: tokens made of each latent query. With Q = 1 and expand = 1 (004's z in R^128, taken literally) there is one
        key to attend to, and cross-attention adds the same vector to every patch; a larger `expand` gives each patch a
        choice.
    residual: predict the change and add it to the current frame (starting from none), not the frame itself.

    Works in normalised pixels ((x/255 - 0.5)/0.5). Raises ConfigError if patch does not divide image_size.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        queries: int,
        dim: int,
        image_size: int,
        patch: int,
        width: int,
        heads: int,
        layers: int,
        expand: int = 1,
        residual: bool = False,
    ) -> None:
        super().__init__(
            queries=queries,
            dim=dim,
            image_size=image_size,
            patch=patch,
            width=width,
            heads=heads,
            layers=layers,
            expand=expand,
            residual=residual,
        )
        self.cross = CrossBlock(width, heads, context_width=width)

    def forward(self, now: UInt8[Tensor, "B C h w"], z_BQD: Float[Tensor, "B Q D"]) -> Float[Tensor, "B C h w"]:
        """The predicted future frame in normalised pixels."""
        pixels = self.normalizer(now)
        patches, latent = self._tokens(pixels, z_BQD)
        return self._paint(pixels, self.trunk(self.cross(patches, latent)))


class ConcatenateDecoder(_PatchPainter):
    """The same, but latent tokens and source patches are one sequence and see each other in every layer."""

    buildable: ClassVar[str] = "model"

    def forward(self, now: UInt8[Tensor, "B C h w"], z_BQD: Float[Tensor, "B Q D"]) -> Float[Tensor, "B C h w"]:
        """The predicted future frame in normalised pixels."""
        pixels = self.normalizer(now)
        patches, latent = self._tokens(pixels, z_BQD)
        x = self.trunk(torch.cat([latent, patches], dim=1))
        return self._paint(pixels, x[:, self.latent_tokens :])
