"""The SigLIP image encoder (Zhai et al. 2023) without its pooling head, under the names its checkpoints use.

PaliGemma and SmolVLM both look through it. B images, P = (image_size / patch)^2 patches in row-major order, E width.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lara.errors import ConfigError


class SiglipEncoder(nn.Module):
    """width, heads, layers, mlp: sizes. Pre-norm blocks, tanh-GELU, LayerNorm epsilon 1e-6, learned positions."""

    def __init__(self, *, image_size: int, patch: int, width: int, heads: int, layers: int, mlp: int) -> None:
        super().__init__()
        if image_size % patch or width % heads:
            raise ConfigError(
                "SigLIP needs an image_size that is a multiple of patch and a width that is a multiple of heads, got "
                f"image_size {image_size}, patch {patch}, width {width}, heads {heads}"
            )
        self.image_size, self.width = image_size, width
        self.tokens = (image_size // patch) ** 2
        self.embeddings = _Embeddings(self.tokens, patch, width)
        self.encoder = _Layers(_Layer(width, heads, mlp) for _ in range(layers))
        self.post_layernorm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pixels_BCHW: Float[Tensor, "B 3 height width"]) -> Float[Tensor, "B P E"]:
        """pixels: in [-1, 1], image_size square. Raises ConfigError for another size."""
        if pixels_BCHW.shape[-2:] != (self.image_size, self.image_size):
            raise ConfigError(
                f"this SigLIP reads {self.image_size} x {self.image_size} pixels, got {tuple(pixels_BCHW.shape[-2:])}"
            )
        x = self.embeddings(pixels_BCHW)
        for layer in self.encoder.layers:
            x = layer(x)
        out: Tensor = self.post_layernorm(x)
        return out


class _Embeddings(nn.Module):
    def __init__(self, tokens: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.position_embedding = nn.Embedding(tokens, width)
        nn.init.normal_(self.position_embedding.weight, std=width**-0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = (
            rearrange(self.patch_embedding(pixels), "b e h w -> b (h w) e") + self.position_embedding.weight
        )
        return tokens


class _Layers(nn.Module):
    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(width, eps=1e-6)
        self.self_attn = _Attention(width, heads)
        self.layer_norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _MLP(width, mlp)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            rearrange(project(x), "b p (h d) -> b h p d", h=self.heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        out: Tensor = self.out_proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h p d -> b p (h d)"))
        return out


class _MLP(nn.Module):
    def __init__(self, width: int, mlp: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, mlp)
        self.fc2 = nn.Linear(mlp, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out
