"""LatBot's student small and from scratch: what stands in for pi0.5's VLM where nothing is downloaded.

[ image patches | words | scene queries | motion queries ] -> self-attention -> latents, and the tokens for the expert
                                             image and words -> bytes of the subtask text (nn.writer)
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.vit import Trunk, learned_positions
from lara.nn.writer import Writer
from lara.policy.backbone import Tokens
from lara.policy.backbones.compact import CompactBackbone
from lara.policy.student import PredictedLatents
from lara.types import Observation


class CompactStudent(nn.Module):
    """scene, motion, dim: of the teacher's latent. Other sizes as in `CompactBackbone`, `Trunk` and `Writer`.

    Called with an observation: Tokens (B, V * P + W + scene + motion, width), the predicted latents last.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        dim: int,
        scene: int,
        motion: int,
        views: int,
        image_size: int,
        patch: int,
        width: int,
        heads: int,
        layers: int,
        words: int = 12,
        vocabulary: int = 1024,
        text_length: int = 48,
    ) -> None:
        super().__init__()
        if views < 1 or scene < 1 or motion < 1:
            raise ConfigError(f"a student needs a camera, scene and motion tokens, got {views}, {scene} and {motion}")
        self.width, self.queries = width, scene + motion
        self.eyes = CompactBackbone(
            views=views, image_size=image_size, patch=patch, width=width, words=words, vocabulary=vocabulary
        )
        self.latent_tokens = learned_positions(self.queries, width)
        self.trunk = Trunk(width=width, heads=heads, layers=layers)
        self.down = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, dim))
        self.up = nn.Linear(dim, width)
        self.writer = Writer(width=width, heads=heads, length=text_length)

    def forward(self, observation: Observation) -> Tokens:
        seen, z_BQD = self._read(observation)
        real = torch.ones(z_BQD.shape[:2], dtype=torch.bool, device=z_BQD.device)
        return Tokens(torch.cat([seen.x, self.up(z_BQD)], dim=1), torch.cat([seen.mask, real], dim=1))

    def predict_latents(self, observation: Observation, texts: tuple[str, ...]) -> PredictedLatents:
        seen, z_BQD = self._read(observation)
        return PredictedLatents(z_BQD, self.writer.loss(texts, seen.x, seen.mask))

    def _read(self, observation: Observation) -> tuple[Tokens, Tensor]:
        tokens = self.eyes(observation)
        x = torch.cat([tokens.x, self.latent_tokens.expand(len(tokens.x), -1, -1)], dim=1)
        real = torch.ones(x.shape[0], self.queries, dtype=torch.bool, device=x.device)
        x = self.trunk(x, torch.cat([tokens.mask, real], dim=1))
        return Tokens(x[:, : -self.queries], tokens.mask), self.down(x[:, -self.queries :])
