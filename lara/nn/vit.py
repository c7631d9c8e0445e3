"""Images to tokens and back: two ways to cut an image into patches, and the plain ViT trunk."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.blocks import EncoderBlock


class PatchEmbed(nn.Module):
    """Non-overlapping patches by one strided convolution (ViT)."""

    def __init__(self, *, image_size: int, patch: int, width: int) -> None:
        super().__init__()
        if image_size % patch:
            raise ConfigError(f"image_size must be a multiple of patch, got {image_size} and {patch}")
        self.tokens = (image_size // patch) ** 2
        self.projection = nn.Conv2d(3, width, patch, patch)

    def forward(self, images_BCHW: Float[Tensor, "B C h w"]) -> Float[Tensor, "B P E"]:
        tokens: Tensor = rearrange(self.projection(images_BCHW), "b e h w -> b (h w) e")
        return tokens


class ConvStem(nn.Module):
    """Overlapping stride-2 convolutions down to patches of `patch` pixels.

    A small network trained from scratch on little data sees far better through convolutions than through one linear
    map per patch (Xiao et al. 2021, "Early convolutions help transformers see better").
    """

    def __init__(self, *, image_size: int, patch: int, width: int, channels: int = 32) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        if 2**halvings != patch or image_size % patch:
            raise ConfigError(f"patch must be a power of two that divides image_size, got {patch} and {image_size}")
        self.tokens = (image_size // patch) ** 2
        layers: list[nn.Module] = []
        inputs = 3
        for k in range(halvings):
            outputs = min(width, channels * 2**k)
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(8, outputs), nn.SiLU()]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, width, 1))

    def forward(self, images_BCHW: Float[Tensor, "B C h w"]) -> Float[Tensor, "B P E"]:
        tokens: Tensor = rearrange(self.layers(images_BCHW), "b e h w -> b (h w) e")
        return tokens


class Trunk(nn.Module):
    """`layers` pre-norm blocks and a final norm."""

    def __init__(self, *, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x_BTE: Float[Tensor, "B T E"], mask_BT: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T E"]:
        for block in self.blocks:
            x_BTE = block(x_BTE, mask_BT)
        out: Tensor = self.norm(x_BTE)
        return out


def learned_positions(tokens: int, width: int) -> nn.Parameter:
    """A (1, T, E) table of learned positions, small at the start."""
    return nn.Parameter(torch.randn(1, tokens, width) * 0.02)
