"""Can the task be read off one latent action? An attentive probe (V-JEPA's, as in LARY's classification).

One learned query attends to the latent's Q tokens after self-attention blocks; a linear layer names the task. Learning
rates are tried on episodes of the fitted side, never on the tested one. A latent of pure motion need not know the task;
one that beats "other_latent" by far where motions are alike has probably kept the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lara.errors import DataError
from lara.probes.baselines import others, pixel_difference, small
from lara.probes.clips import Clips, Lam, latents
from lara.probes.regression import inner_split
from lara.probes.result import Result


@dataclass(frozen=True, kw_only=True)
class Classification(Result):
    """rows: top-1 accuracy on the tested episodes, by features. majority: of always naming the commonest task."""

    tasks: list[str]
    fit_pairs: int
    test_pairs: int
    majority: float
    rows: dict[str, float]


class AttentiveProbe(nn.Module):
    """(N, Q, D) tokens -> (N, classes) scores."""

    def __init__(self, inputs: int, classes: int, *, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.into = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(blocks)
        )
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.pool = nn.MultiheadAttention(width, heads, batch_first=True)
        self.out = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.into(tokens)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        logits: Tensor = self.out(self.pool(self.query.expand(len(x), -1, -1), x, x, need_weights=False)[0][:, 0])
        return logits


def classify(
    lam: Lam,
    fit: Clips,
    test: Clips,
    *,
    width: int = 64,
    heads: int = 4,
    blocks: int = 1,
    epochs: int = 20,
    lrs: Sequence[float] = (1e-3, 3e-3),
) -> Classification:
    """First and last frames of both sides, which must share no episode. LARY has 4 blocks of 16 heads and 5 rates.

    Raises DataError when an episode stands on both sides or fewer than two tasks are there.
    """
    if set(fit.episode_N.tolist()) & set(test.episode_N.tolist()):
        raise DataError(
            "the classification probe needs different episodes to fit and to test; some stand on both sides"
        )
    present = sorted(set(fit.task_N.tolist()))
    if len(present) < 2:
        raise DataError(f"expected clips of at least two tasks, got {[fit.tasks[t] for t in present]}")
    label = torch.full((len(fit.tasks),), -1, dtype=torch.int64)
    label[present] = torch.arange(len(present))
    y_fit, y_test = label[fit.task_N], label[test.task_N]
    sides = [_tokens(lam, clips) for clips in (fit, test)]
    rows = {}
    for name in sides[0]:
        x_fit, x_test = (side[name] for side in sides)
        guess = _best(x_fit, y_fit, fit.episode_N, x_test, lrs, (width, heads, blocks, epochs))
        rows[name] = _accuracy(guess, y_test)
    commonest = y_fit.bincount().argmax()
    return Classification(
        tasks=[fit.tasks[t] for t in present],
        fit_pairs=len(fit),
        test_pairs=len(test),
        majority=(y_test == commonest).double().mean().item(),
        rows=rows,
    )


def _tokens(lam: Lam, clips: Clips) -> dict[str, Float[Tensor, "N Q D"]]:
    """The latent's own tokens; the pixels of the picture at 6 x 6, one token each."""
    last = len(clips.offsets) - 1
    (z,) = latents(lam, clips.frames_NFCHW, [(0, last)], clips.instruction)
    now, future = clips.frames_NFCHW[:, 0], clips.frames_NFCHW[:, last]
    return {
        "model": z.float(),
        "pixel_difference": pixel_difference(now, future, side=6).unflatten(1, (3, -1)).transpose(1, 2),
        "current_frame": small(now, side=6).unflatten(1, (3, -1)).transpose(1, 2),
        "other_latent": others(z).float(),
    }


def _best(
    x: Tensor,
    y: Int[Tensor, " N"],
    episode_N: Int[Tensor, " N"],
    x_test: Tensor,
    lrs: Sequence[float],
    sizes: tuple[int, int, int, int],
) -> Tensor:
    """Scores for x_test of the probe whose learning rate did best on the inner split."""
    inner = inner_split(episode_N)
    if len(lrs) > 1:
        tried = [_accuracy(_fit(x[~inner], y[~inner], x[inner], lr, y, sizes), y[inner]) for lr in lrs]
        lrs = [lrs[tried.index(max(tried))]]
    return _fit(x, y, x_test, lrs[0], y, sizes)


def _fit(x: Tensor, y: Tensor, x_test: Tensor, lr: float, labels: Tensor, sizes: tuple[int, int, int, int]) -> Tensor:
    width, heads, blocks, epochs = sizes
    # by query and dim: queries differ more from each other than pairs do
    mean, std = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        probe = AttentiveProbe(x.shape[2], int(labels.max()) + 1, width=width, heads=heads, blocks=blocks)
        optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=1e-4)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                loss = nn.functional.cross_entropy(probe((x[rows] - mean) / std), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    with torch.no_grad():
        logits: Tensor = probe.eval()((x_test - mean) / std)
        return logits


def _accuracy(scores: Tensor, y: Tensor) -> float:
    return (scores.argmax(dim=1) == y).double().mean().item()
