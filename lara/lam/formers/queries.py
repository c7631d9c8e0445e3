"""ALAM's relational encoder: K queries read the patch tokens of both frames through one ViT (004, Eq. 4, Table 5).

    z = g( ViT([ K queries | patches of i | patches of j ])_queries )

The paper's sizes: 200 x 200 px, patch 14, 12 layers of width 768 with 12 heads, K = 256 queries, z in R^128. (200 is no
multiple of 14: an image size such as 196, 210 or 224 has to be chosen.)

How 256 query states of 768 numbers become one z in R^128 the paper does not say; "the query outputs are linearly
projected to the latent transition space" (A.1) is all. It does say that z is ONE vector: z in R^128 (A.1), one latent
token per view and step beside the action token (section 3.3). So g here is one linear map of the concatenated queries,
R^(256 * 768) -> R^128: every linear read-out is one of its special cases, a mean over queries too. The other reading,
where every query keeps its own 128 numbers and its own code, is Q = K of the same map (K / Q queries make one latent).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.vit import Trunk, learned_positions


class QueryFormer(nn.Module):
    """Tokens of two frames (B, P, context_width) -> raw latent (B, Q, D), unbounded.

    reads: K, the learned queries inside, a multiple of Q (else ConfigError); consecutive K / Q of them, concatenated,
    make one latent through one linear map that all Q share. Patch positions are shared by the two frames, which an
    embedding of their own tells apart.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        tokens: int,
        context_width: int,
        queries: int,
        dim: int,
        reads: int = 256,
        width: int = 768,
        heads: int = 12,
        layers: int = 12,
    ) -> None:
        super().__init__()
        if reads < 1 or reads % queries:
            raise ConfigError(
                f"the {reads} reading queries must split evenly over {queries} latents; set lam.former.reads to a "
                "multiple of lam.queries"
            )
        self.n_latents = queries
        self.reads = nn.Parameter(torch.randn(1, reads, width) * 0.02)
        self.project = nn.Linear(context_width, width)
        self.positions = learned_positions(tokens, width)
        self.frame_type = nn.Parameter(torch.randn(2, 1, 1, width) * 0.02)
        self.trunk = Trunk(width=width, heads=heads, layers=layers)
        self.down = nn.Linear(reads // queries * width, dim)

    def forward(self, now_BPE: Float[Tensor, "B P E"], future_BPE: Float[Tensor, "B P E"]) -> Float[Tensor, "B Q D"]:
        now = self.project(now_BPE) + self.positions + self.frame_type[0]
        future = self.project(future_BPE) + self.positions + self.frame_type[1]
        x = self.trunk(torch.cat([self.reads.expand(len(now), -1, -1), now, future], dim=1))
        read = x[:, : self.reads.shape[1]]
        latents: Tensor = self.down(read.unflatten(1, (self.n_latents, -1)).flatten(2))
        return latents
