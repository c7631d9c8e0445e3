"""RotVLA's inverse dynamics: a space-time transformer over the frozen encoder's tokens (001, section 4 "Model
architecture", which says only "a spatial-temporal transformer" after UniVLA).

    frame f:  [ Q queries | P patches ]      space: tokens of one frame see each other
                                             time:  the token at one place sees itself in frames 0..f

What the paper leaves open, and what is done here: the Q = n learned queries (their D = n numbers are one row of the
n x n matrix) are set before the patches of EVERY frame, and the latent of a step is read at the queries of the frame
it leads to; a block is space, then time, then feed-forward, all pre-norm (Genie's order, which UniVLA uses); time is
causal; positions are learned, one table for places and one for frames. Soft quantisation and the projection to SO(n)
belong to the latent space.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.attention import Attention
from lara.nn.causal import CausalAttention
from lara.nn.mlp import MLP
from lara.nn.vit import learned_positions


class SpaceTimeBlock(nn.Module):
    """Space within each frame, causal time at each place, feed-forward."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm_space = nn.LayerNorm(width)
        self.space = Attention(width, heads)
        self.norm_time = nn.LayerNorm(width)
        self.time = CausalAttention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, int(width * mlp_ratio))

    def forward(self, x_BFTE: Float[Tensor, "B F T E"]) -> Float[Tensor, "B F T E"]:
        n, _, places, _ = x_BFTE.shape
        space = self.space(self.norm_space(x_BFTE).flatten(0, 1))
        x_BFTE = x_BFTE + space.unflatten(0, (n, -1))
        time = self.time(rearrange(self.norm_time(x_BFTE), "b f t e -> (b t) f e"))
        x_BFTE = x_BFTE + rearrange(time, "(b t) f e -> b f t e", t=places)
        out: Tensor = x_BFTE + self.mlp(self.norm_mlp(x_BFTE))
        return out


class SpaceTimeFormer(nn.Module):
    """Tokens of two frames (B, P, context_width) -> raw latent (B, Q, D), unbounded; for SO(n), Q = D = n.

    frames: the longest clip `steps` may be given (2 is what training on pairs needs).
    Raises ConfigError for fewer than 2 frames, at building or reading.
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
        frames: int = 2,
    ) -> None:
        super().__init__()
        if frames < 2:
            raise ConfigError(f"a latent action needs at least 2 frames, got frames={frames}")
        self.n_queries = queries
        self.frames = frames
        self.project = nn.Linear(context_width, width)
        self.queries = nn.Parameter(torch.randn(1, 1, queries, width) * 0.02)
        self.places = learned_positions(queries + tokens, width)
        self.times = nn.Parameter(torch.randn(1, frames, 1, width) * 0.02)
        self.blocks = nn.ModuleList(SpaceTimeBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, dim)

    def forward(self, now_BPE: Float[Tensor, "B P E"], future_BPE: Float[Tensor, "B P E"]) -> Float[Tensor, "B Q D"]:
        """The step between one pair. A triplet is two calls (001, Eq. 6), so that no latent knows the other pair."""
        return self.steps(torch.stack([now_BPE, future_BPE], dim=1))[:, 0]

    def steps(self, tokens_BFPE: Float[Tensor, "B F P E"]) -> Float[Tensor, "B F-1 Q D"]:
        """The F - 1 steps of a clip, each read with all frames before it in view, none after."""
        n, frames = tokens_BFPE.shape[:2]
        if not 2 <= frames <= self.frames:
            raise ConfigError(
                f"this former reads clips of 2 to {self.frames} frames, got {frames}; set lam.former.frames={frames}"
            )
        queries = self.queries.expand(n, frames, -1, -1)
        x = torch.cat([queries, self.project(tokens_BFPE)], dim=2) + self.places[:, None] + self.times[:, :frames]
        for block in self.blocks:
            x = block(x)
        latents: Tensor = self.down(self.norm(x[:, 1:, : self.n_queries]))
        return latents
