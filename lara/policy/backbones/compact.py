"""A small backbone trained from scratch: image patches and instruction words, nothing to download (the demo's)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from lara.errors import ConfigError
from lara.nn.images import PixelNormalizer
from lara.nn.vit import ConvStem, learned_positions
from lara.nn.words import hashed_words
from lara.policy.backbone import Tokens
from lara.types import Observation


class CompactBackbone(nn.Module):
    """V cameras x P patches + W words -> (B, V * P + W, width) tokens; a joint self-attention adapter mixes them.

    views: number of cameras; 0 makes a policy that sees no image (a control, not a useful policy).
    words: instruction words kept, the rest is dropped; vocabulary: hash buckets. Words are hashed (crc32), so there is
    no vocabulary to fit or to ship; two given words share one of 1024 buckets with p ~ 0.1 %.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        views: int,
        image_size: int,
        patch: int,
        width: int,
        channels: int = 32,
        words: int = 12,
        vocabulary: int = 1024,
    ) -> None:
        super().__init__()
        self.views, self.width, self.words, self.vocabulary = views, width, words, vocabulary
        self.image_size = image_size
        self.text = nn.Embedding(vocabulary + 1, width)
        self.text_positions = learned_positions(words, width)
        if views:
            self.normalizer = PixelNormalizer()
            self.stem = ConvStem(image_size=image_size, patch=patch, width=width, channels=channels)
            self.image_positions = learned_positions(views * self.stem.tokens, width)

    def forward(self, observation: Observation) -> Tokens:
        ids = torch.tensor([self.word_ids(text) for text in observation.instruction], device=self.text.weight.device)
        tokens = self.text(ids) + self.text_positions
        mask = ids > 0
        if self.views:
            images = observation.images_BVCHW
            expected = (self.views, 3, self.image_size, self.image_size)
            if tuple(images.shape[1:]) != expected:
                raise ConfigError(
                    f"the policy was built for images {expected} (views, channels, height, width), got "
                    f"{tuple(images.shape[1:])}; data.cameras and data.image_size must match policy.backbone"
                )
            patches = self.stem(self.normalizer(images.flatten(0, 1))).unflatten(0, images.shape[:2]).flatten(1, 2)
            tokens = torch.cat([patches + self.image_positions, tokens], dim=1)
            mask = torch.cat([torch.ones(patches.shape[:2], dtype=torch.bool, device=mask.device), mask], dim=1)
        return Tokens(tokens, mask)

    def word_ids(self, instruction: str) -> list[int]:
        """`words` ids, 0 = no word; see `nn.words.hashed_words`."""
        return list(hashed_words(instruction, self.words, self.vocabulary))
