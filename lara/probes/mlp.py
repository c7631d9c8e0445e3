"""LARY's regression probe (LARYBench): a residual MLP from one pair's latent to its chunk of actions.

    LayerNorm -> Linear -> ReLU -> 2 x [x + ReLU(Linear(LayerNorm(x)))] -> LayerNorm -> Linear

Huber loss, AdamW, 50 epochs, batches of 256. LARY's width is 4096; the default here is what a CPU bears in seconds, and
numbers of different widths are not comparable. Unlike LARY's, the features are standardised first: latents that share
one large common direction would otherwise lose what differs in the first LayerNorm.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lara.probes.clips import Clips
from lara.probes.regression import Regression, regress


class ResidualMLP(nn.Module):
    """(N, K) -> (N, O)."""

    def __init__(self, inputs: int, outputs: int, *, width: int, blocks: int = 2) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU()) for _ in range(blocks)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.out(x)
        return out


def mlp_probe(
    fit_features: Mapping[str, Tensor],
    fit_clips: Clips,
    test_features: Mapping[str, Tensor],
    test_clips: Clips,
    *,
    width: int = 256,
    epochs: int = 50,
    lr: float = 1e-4,
) -> Regression:
    """LARY's probe on each kind of features."""
    fit = partial(fit_mlp, width=width, epochs=epochs, lr=lr)
    return regress("mlp", fit, fit_features, fit_clips, test_features, test_clips)


def fit_mlp(
    x_NK: Float[Tensor, "N K"],
    y_NO: Float[Tensor, "N O"],
    episode_N: Int[Tensor, " N"],
    x_MK: Float[Tensor, "M K"],
    *,
    width: int,
    epochs: int,
    lr: float,
    batch: int = 256,
    weight_decay: float = 1e-4,
    seed: int = 42,
) -> Float[Tensor, "M O"]:
    """Predictions for x_MK from features standardised by x_NK, with the last epoch's weights, as in LARY (which
    chooses nothing by episode, so that `episode_N` is not used)."""
    mean, std = x_NK.mean(dim=0), x_NK.std(dim=0).clamp(min=1e-6)
    x_NK, x_MK = (x_NK - mean) / std, (x_MK - mean) / std
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResidualMLP(x_NK.shape[1], y_NO.shape[1], width=width)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
        for _ in range(epochs):
            for rows in torch.randperm(len(x_NK)).split(batch):
                loss = nn.functional.huber_loss(model(x_NK[rows]), y_NO[rows], delta=1.0)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    with torch.no_grad():
        predicted: Tensor = model.eval()(x_MK)
        return predicted
