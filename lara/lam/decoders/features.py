"""The feature decoder: predict what the encoder will see, not the pixels (UniVLA's form; `lam.features` is its model).

RotVLA's encoder follows UniVLA's (001, section 4), but its equations and figures are of frames: it paints pixels.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lara.nn.vit import Trunk, learned_positions


class TokenDecoder(Protocol):
    """The contract of decoders that predict encoder tokens.

    Built as decoder(queries=, dim=, tokens=, context_width=); maps the current frame's tokens and the latent to the
    future frame's tokens, in the encoder's own units. It has no normalizer, because it never sees a pixel; its target
    is encoder(future), its error `losses.reconstruction.feature_mse`, its yardstick the error of copying `now`.
    """

    def __call__(self, now_BPE: Tensor, z_BQD: Tensor) -> Tensor: ...


class FeatureDecoder(nn.Module):
    """A plain transformer on [ Q latent tokens | P patch tokens of now ]; the patches become the future's tokens.

    residual: predict the change and add it to the current tokens, starting from none.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        queries: int,
        dim: int,
        tokens: int,
        context_width: int,
        width: int,
        heads: int,
        layers: int,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.n_queries = queries
        self.up = nn.Linear(dim, width)
        self.project = nn.Linear(context_width, width)
        self.positions = learned_positions(queries + tokens, width)
        self.trunk = Trunk(width=width, heads=heads, layers=layers)
        self.head = nn.Linear(width, context_width)
        if residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, now_BPE: Float[Tensor, "B P E"], z_BQD: Float[Tensor, "B Q D"]) -> Float[Tensor, "B P E"]:
        """The predicted tokens of the future frame."""
        x = torch.cat([self.up(z_BQD), self.project(now_BPE)], dim=1) + self.positions
        out = self.head(self.trunk(x)[:, self.n_queries :])
        future: Tensor = now_BPE + out if self.residual else out
        return future
