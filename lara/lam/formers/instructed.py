"""A small reader of frames and words, trained from scratch, in the place of LatBot's VLM: nothing to download.

    [ patches of frame 0 | patches of each later frame | W words | scene queries | motion queries ] -> self-attention

Same call and same outcome as `VLMFormer`; the queries are its [CP_SCE] and [CP_MOT]. No knowledge comes with it, so
every number measured with it is a statement about this model, not about the paper's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.images import PixelNormalizer
from lara.nn.vit import ConvStem, Trunk, learned_positions
from lara.nn.words import hashed_words


class InstructedFormer(nn.Module):
    """Frames (B, F, 3, image_size, image_size) uint8 and B instructions -> raw latent (B, scene + motion, dim).

    frames:     F, fixed, because every frame has its own type embedding.
    difference: later frames are given as their CHANGE, encode(f) - encode(0), patch by patch; without it queries
                trained from scratch learn to ignore the frames (see lam/former.py).
    words, vocabulary: see `nn.words.hashed_words`.
    Raises ConfigError for another number of frames or instructions.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        dim: int,
        scene: int,
        motion: int,
        image_size: int,
        patch: int,
        width: int,
        heads: int,
        layers: int,
        frames: int = 2,
        difference: bool = True,
        channels: int = 32,
        words: int = 12,
        vocabulary: int = 1024,
    ) -> None:
        super().__init__()
        if scene < 1 or motion < 1 or frames < 2:
            raise ConfigError(f"expected scene, motion >= 1 and frames >= 2, got {scene}, {motion} and {frames}")
        self.scene, self.motion, self.dim, self.frames = scene, motion, dim, frames
        self.difference, self.words, self.vocabulary = difference, words, vocabulary
        self.normalizer = PixelNormalizer()
        self.stem = ConvStem(image_size=image_size, patch=patch, width=width, channels=channels)
        self.norm = nn.LayerNorm(width)
        self.frame_type = nn.Parameter(torch.randn(frames, 1, width) * 0.02)
        self.patch_positions = learned_positions(self.stem.tokens, width)
        self.text = nn.Embedding(vocabulary + 1, width)
        self.text_positions = learned_positions(words, width)
        self.latent_tokens = learned_positions(scene + motion, width)
        self.trunk = Trunk(width=width, heads=heads, layers=layers)
        self.down = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, dim))

    @property
    def queries(self) -> int:
        return self.scene + self.motion

    def forward(self, frames_BFCHW: UInt8[Tensor, "B F C h w"], instruction: tuple[str, ...]) -> Float[Tensor, "B Q D"]:
        n, count = frames_BFCHW.shape[:2]
        if count != self.frames or n != len(instruction):
            raise ConfigError(
                f"this former reads {self.frames} frames and one instruction per sample, got {count} frames and "
                f"{len(instruction)} instructions for {n} samples"
            )
        pixels = self.normalizer(frames_BFCHW.flatten(0, 1))
        seen = self.norm(self.stem(pixels) + self.patch_positions).unflatten(0, (n, count))
        if self.difference:
            seen = torch.cat([seen[:, :1], seen[:, 1:] - seen[:, :1]], dim=1)
        patches = (seen + self.patch_positions + self.frame_type).flatten(1, 2)
        ids_BT = torch.tensor(
            [hashed_words(text, self.words, self.vocabulary) for text in instruction], device=pixels.device
        )
        x = torch.cat([patches, self.text(ids_BT) + self.text_positions, self.latent_tokens.expand(n, -1, -1)], dim=1)
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        mask[:, patches.shape[1] : patches.shape[1] + self.words] = ids_BT > 0
        latents: Tensor = self.down(self.trunk(x, mask)[:, -self.queries :])
        return latents
