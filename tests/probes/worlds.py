"""Latent action models whose meaning is known, built of the library's own class, and scenes for them to look at."""

from __future__ import annotations

import torch
from torch import nn

from lara.lam.model import LatentActionModel
from lara.latents.additive import AdditiveSpace
from lara.latents.rotation import RotationSpace
from lara.nn.images import PixelNormalizer
from lara.probes.clips import Clips

SIDE = 12
PIXELS = 3 * SIDE * SIDE


class Pixels(nn.Module):
    """One token: the picture itself, in [0, 1]."""

    tokens, width = 1, PIXELS

    def forward(self, frames):
        return frames.flatten(1)[:, None].float() / 255.0


class Former(nn.Module):
    """z = rule(now, future)."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, now, future):
        return self.rule(now, future)


class Painter(nn.Module):
    """Adds z to the current picture, or paints z itself."""

    def __init__(self, add):
        super().__init__()
        self.add, self.normalizer = add, PixelNormalizer()

    def forward(self, now, z):
        picture = z.reshape(len(z), 3, SIDE, SIDE)
        return self.normalizer.from_unit(now.float() / 255.0 + picture if self.add else picture)


def model(rule, *, paint: str = "add", space=None, queries: int = 1) -> LatentActionModel:
    return LatentActionModel(
        encoder=Pixels(),
        former=lambda **sizes: Former(rule),
        space=space or AdditiveSpace(dim=PIXELS),
        decoder=lambda **sizes: Painter(paint == "add"),
        queries=queries,
    ).eval()


def motion() -> LatentActionModel:
    """The perfect latent: z is the change of the picture."""
    return model(lambda now, future: future - now)


def target() -> LatentActionModel:
    """The degenerate one: z is the future picture, and the decoder paints it."""
    return model(lambda now, future: future, paint="paint")


def rotations(order) -> LatentActionModel:
    """Latents in SO(3): every picture has a pose g; order(g_now, g_future) is the latent."""

    def pose(x):
        m = (x[:, 0, :9] * 3).reshape(-1, 3, 3)
        return torch.linalg.matrix_exp(m - m.transpose(1, 2))

    return model(lambda now, future: order(pose(now), pose(future)), space=RotationSpace(dim=3), queries=3)


def clips(frames=3, *, n=24, steady=True, episodes=6, tasks=2, seed=0) -> Clips:
    """Frames at 0, 2, 4, ... of pictures that change steadily (or at random). The first two actions sum to the change
    of the first two pixels."""
    g = torch.Generator().manual_seed(seed)
    first = torch.randint(90, 150, (n, 1, 3, SIDE, SIDE), generator=g)
    if steady:
        change = torch.randint(-12, 13, (n, 1, 3, SIDE, SIDE), generator=g)
        pictures = first + change * torch.arange(frames).reshape(1, -1, 1, 1, 1)
    else:
        pictures = torch.randint(0, 256, (n, frames, 3, SIDE, SIDE), generator=g)
    length = 2 * (frames - 1)
    actions = torch.randn(n, length, 3, generator=g)
    moved = (pictures[:, -1] - pictures[:, 0]).flatten(1)[:, :2] / 255.0
    actions[..., :2] = moved[:, None] / length
    actions[..., 2] = 0.5
    return Clips(
        frames_NFCHW=pictures.to(torch.uint8),
        offsets=tuple(range(0, 2 * frames, 2)),
        actions_NHA=actions,
        episode_N=torch.arange(n) % episodes + 100 * seed,
        task_N=torch.arange(n) % tasks,
        start_N=torch.arange(n),
        tasks=tuple(f"task {k}" for k in range(tasks)),
    )
