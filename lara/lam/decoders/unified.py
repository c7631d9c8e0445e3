"""LatBot's unified decoder: one stream ends in the future frame, the other in the actions (002, section 3.2).

    image stream:   scene tokens + the current frame  ->  V_{t+k}
    action stream:  motion tokens + H action queries  ->  A_{t:t+k}, 44 numbers each (data.actions.unified_actions)
    every layer:    each stream moves on by itself, then both read each other as they were before the exchange

What the paper leaves open, and what is done here: the exchange is one cross-attention block per direction and layer;
actions are read at H learned queries, all steps at once; the robot's 46-d state, where given, is one more token of the
action stream. The image stream is any `ImageStream`: a small ViT here, SANA in `sana.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.blocks import EncoderBlock
from lara.nn.cross import CrossBlock
from lara.nn.images import PixelNormalizer
from lara.nn.vit import PatchEmbed, learned_positions


class UnifiedPrediction(NamedTuple):
    """frame: (B, 3, h, w) future frame in normalised pixels. actions: (B, H, A) normalised unified actions."""

    frame: Tensor
    actions: Tensor


class Canvas(NamedTuple):
    """Where the image stream stands: x (B, T, E) tokens that change layer by layer, fixed: what does not."""

    x: Tensor
    fixed: tuple[Any, ...]


class ImageStream(Protocol):
    """`layers` steps of width `width` from the current frame to the future one. Built as stream(scene=, dim=).

    start(now, scene_BQD): uint8 frame and scene tokens -> canvas. step(k, canvas): layer k.
    finish(canvas): the future frame in normalised pixels, of the size of `now`. normalizer: those pixels' units.
    """

    width: int
    layers: int
    normalizer: PixelNormalizer

    def start(self, now: Tensor, scene_BQD: Tensor) -> Canvas: ...

    def step(self, k: int, canvas: Canvas) -> Canvas: ...

    def finish(self, canvas: Canvas) -> Tensor: ...


class PatchStream(nn.Module):
    """A ViT on [ scene tokens | patches of the current frame ] with a linear head that paints each patch.

    residual: the head paints the change, which is added to the current frame (see `PixelDecoder`).
    Raises ConfigError if patch does not divide image_size.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        scene: int,
        dim: int,
        image_size: int,
        patch: int,
        width: int,
        heads: int,
        layers: int,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.scene, self.width, self.layers = scene, width, layers
        self.patch, self.side = patch, image_size // patch
        self.normalizer = PixelNormalizer()
        self.embed = PatchEmbed(image_size=image_size, patch=patch, width=width)
        self.up = nn.Linear(dim, width)
        self.positions = learned_positions(scene + self.embed.tokens, width)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * patch * patch)
        self.residual = residual
        if residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def start(self, now: UInt8[Tensor, "B C h w"], scene_BQD: Float[Tensor, "B Q D"]) -> Canvas:
        pixels = self.normalizer(now)
        x = torch.cat([self.up(scene_BQD), self.embed(pixels)], dim=1)
        return Canvas(x + self.positions, (pixels,))

    def step(self, k: int, canvas: Canvas) -> Canvas:
        return canvas._replace(x=self.blocks[k](canvas.x))

    def finish(self, canvas: Canvas) -> Float[Tensor, "B C h w"]:
        painted = self.head(self.norm(canvas.x[:, self.scene :]))
        out = rearrange(painted, "b (h w) (c p q) -> b c (h p) (w q)", h=self.side, p=self.patch, q=self.patch, c=3)
        image: Tensor = canvas.fixed[0] + out if self.residual else out
        return image


class UnifiedDecoder(nn.Module):
    """Current frame, latent and (optional) state -> future frame and H actions.

    queries, dim: of the latent; its first `scene` queries are scene tokens, the rest motion tokens (at least one).
    stream:     factory of the image stream.
    width:      of the action stream; heads: of it and of the exchange, must divide both streams' widths.
    state_dim:  0 for a decoder that is given no state.
    Raises ConfigError where these do not fit, or a state is missing or came unasked.
    """

    buildable: ClassVar[str] = "model"

    image: Any

    def __init__(
        self,
        *,
        queries: int,
        dim: int,
        scene: int,
        stream: Callable[..., nn.Module],
        width: int,
        heads: int,
        horizon: int,
        action_dim: int = 44,
        state_dim: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < scene < queries:
            raise ConfigError(
                f"the latent's {queries} queries must hold scene and motion tokens, got {scene} for the scene; set "
                "lam.decoder.scene to how many scene tokens the encoder makes"
            )
        self.scene, self.horizon, self.state_dim = scene, horizon, state_dim
        self.image = stream(scene=scene, dim=dim)
        self.normalizer = self.image.normalizer
        self.up = nn.Linear(dim, width)
        self.queries = nn.Parameter(torch.randn(1, horizon, width) * 0.02)
        self.state = nn.Linear(state_dim, width) if state_dim else None
        self.positions = learned_positions(horizon + (queries - scene) + (1 if state_dim else 0), width)
        layers = range(self.image.layers)
        self.act = nn.ModuleList(EncoderBlock(width, heads) for _ in layers)
        self.action_to_image = nn.ModuleList(CrossBlock(self.image.width, heads, width) for _ in layers)
        self.image_to_action = nn.ModuleList(CrossBlock(width, heads, self.image.width) for _ in layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, action_dim)

    def forward(
        self,
        now: UInt8[Tensor, "B C h w"],
        z_BQD: Float[Tensor, "B Q D"],
        state_BS: Float[Tensor, "B S"] | None = None,
    ) -> UnifiedPrediction:
        """state_BS: normalised unified state, padding 0; given exactly when the decoder was built with state_dim."""
        canvas = self.image.start(now, z_BQD[:, : self.scene])
        actions = self._start_actions(z_BQD[:, self.scene :], state_BS)
        for k in range(self.image.layers):
            canvas, actions = self.image.step(k, canvas), self.act[k](actions)
            seen, done = canvas.x, actions
            canvas = canvas._replace(x=self.action_to_image[k](seen, done))
            actions = self.image_to_action[k](done, seen)
        return UnifiedPrediction(self.image.finish(canvas), self.head(self.norm(actions[:, : self.horizon])))

    def _start_actions(self, motion_BQD: Tensor, state_BS: Tensor | None) -> Tensor:
        tokens = [self.queries.expand(len(motion_BQD), -1, -1), self.up(motion_BQD)]
        if (self.state is None) != (state_BS is None):
            raise ConfigError(
                f"this decoder was built with state_dim={self.state_dim}, but a state was "
                f"{'not given' if state_BS is None else 'given'}; change one of the two"
            )
        if self.state is not None and state_BS is not None:
            tokens.append(self.state(state_BS)[:, None])
        return torch.cat(tokens, dim=1) + self.positions
