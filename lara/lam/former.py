"""The M-Former: learned queries read what changed between two encoded frames (LARA 003 section A.1; Moto-GPT).

sequence = [ Q queries | P patches of frame i | SEP | P patches of frame j ]  -> self-attention -> the Q queries
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lara.nn.vit import Trunk, learned_positions


class MFormer(nn.Module):
    """Two frames' tokens (B, P, context_width) -> raw latent (B, Q, dim).

    Each frame has its own type embedding (the released code gives both type 0, so that only the slot tells now from
    then). The way down is Linear -> tanh -> Linear, as in the release.

    difference: the second frame is given as its CHANGE, encode(j) - encode(i), patch by patch (an early temporal
        difference). With an encoder trained from scratch nearly everything in both frames is the same, and queries that
        first have to find the little that moved learn to ignore both: the decoder then does as well with any other
        sample's latent. A pretrained encoder needs no such help (False, the paper's form).
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        tokens: int,
        context_width: int,
        queries: int,
        dim: int,
        width: int,
        heads: int,
        layers: int,
        difference: bool = False,
    ) -> None:
        super().__init__()
        self.n_queries = queries
        self.difference = difference
        self.project = nn.Linear(context_width, width)
        self.queries = nn.Parameter(torch.randn(1, queries, width) * 0.02)
        self.separator = nn.Parameter(torch.zeros(1, 1, width))
        self.frame_type = nn.Parameter(torch.randn(2, 1, 1, width) * 0.02)
        self.positions = learned_positions(queries + 2 * tokens + 1, width)
        self.trunk = Trunk(width=width, heads=heads, layers=layers)
        self.down = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, dim))

    def forward(self, now_BPE: Float[Tensor, "B P E"], future_BPE: Float[Tensor, "B P E"]) -> Float[Tensor, "B Q D"]:
        n = now_BPE.shape[0]
        if self.difference:
            future_BPE = future_BPE - now_BPE
        x = torch.cat(
            [
                self.queries.expand(n, -1, -1),
                self.project(now_BPE) + self.frame_type[0],
                self.separator.expand(n, -1, -1),
                self.project(future_BPE) + self.frame_type[1],
            ],
            dim=1,
        )
        latents: Tensor = self.down(self.trunk(x + self.positions)[:, : self.n_queries])
        return latents
