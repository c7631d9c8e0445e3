"""A policy in nobody's frame: what users of `lara.attach` bring. Written as third parties write them."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lara.plugins.attach import Frames
from tests.tiny import SIZE

WIDTH, HORIZON, ACTION = 16, 4, 3


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        # tokens see each other through their mean, so that every token matters at every other
        return x + self.drop(torch.tanh(self.mix(self.norm(x) + x.mean(1, keepdim=True))))


class Stranger(nn.Module):
    """[state | actions] tokens through layers, an MSE. repeats: noise draws, tiled. recompute: checkpointing."""

    def __init__(self, layers=4, repeats=1, recompute=None, shape="tensor"):
        super().__init__()
        self.state, self.action = nn.Linear(5, WIDTH), nn.Linear(ACTION, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, ACTION)
        self.repeats, self.recompute, self.shape = repeats, recompute, shape

    def forward(self, state, actions):
        state, actions = state.repeat(self.repeats, 1), actions.repeat(self.repeats, 1, 1)
        noisy = actions + torch.randn_like(actions) if self.training else actions
        x = torch.cat([self.state(state)[:, None], self.action(noisy)], dim=1)
        for layer in self.layers:
            x = layer(x) if self.recompute is None else checkpoint(layer, x, use_reentrant=self.recompute == "old")
        out = self.head(self.norm(x))[:, 1:]
        loss = (out - actions).square().mean()
        if not self.training:
            return out
        return {"tensor": loss, "dict": {"loss": loss, "out": out}, "tuple": (loss, {"out": 1.0})}[self.shape]


def stranger(**settings):
    torch.manual_seed(3)
    return Stranger(**settings)


def inputs(n=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=g), torch.randn(n, HORIZON, ACTION, generator=g)


def frames(n=6, seed=0, **changes):
    g = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, 2, 3, SIZE, SIZE), generator=g, dtype=torch.uint8)
    return Frames(pixels, steps=torch.ones(n, HORIZON, dtype=torch.bool))._replace(**changes)
