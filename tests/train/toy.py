"""A system that has everything that makes resuming hard, and is small enough to be trained hundreds of times.

backbone:  frozen by stages; dropout, batch statistics that move in training mode.
encoder:   learns; a "codebook" buffer that forward moves, an integer buffer that counts, one weight frozen by the part.
expert:    learns; its loss draws noise from the global generators of torch, numpy and python.
target:    follows the expert in after_step.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lara.systems.system import System
from lara.train.loop import train
from lara.train.optim import OptimConfig
from lara.train.result import TrainResult
from lara.train.runtime import RuntimeConfig
from lara.train.stage import Stage
from lara.types import ActionChunk, Batch, Losses, Observation

WIDTH, HORIZON, ACTION = 6, 2, 3


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.linear(x)))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.embedding = nn.Embedding(4, WIDTH)
        self.pretrained = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.register_buffer("code", torch.zeros(WIDTH))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x, slot):
        z = self.linear(torch.tanh(self.pretrained(x))) + self.embedding(slot)
        if self.training:
            with torch.no_grad():
                self.code.lerp_(z.mean(0), 0.1)
                self.count += 1
        return z - self.code


class Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, HORIZON * ACTION)

    def forward(self, x):
        return self.head(torch.tanh(self.inner(x))).unflatten(-1, (HORIZON, ACTION))


class Toy(System):
    def __init__(self, *, seed: int = 0, noise: float = 0.1, poison: tuple[int, ...] = ()) -> None:
        """poison: sample indices whose presence makes the loss NaN."""
        super().__init__()
        torch.manual_seed(seed)
        self.noise, self.poison = noise, poison
        self.backbone, self.encoder, self.expert = Backbone(), Encoder(), Expert()
        self.target = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.asked: list[frozenset[str]] = []

    def parts(self):
        lam = {"lam.encoder": self.encoder, "lam.target": self.target}
        return {"vision.backbone": self.backbone, **lam, "policy.expert": self.expert}

    def terms(self):
        return ("action", "align", "lam.size")

    def action_terms(self):
        return ("action",)

    def losses(self, batch: Batch, terms: frozenset[str]) -> Losses:
        self.asked.append(terms)
        x = self.backbone(batch.observation.state_BS)
        z = self.encoder(x, batch.observation.embodiment_B)
        if self.noise:
            z = z + self.noise * (torch.randn_like(z) + float(np.random.randn()) + random.gauss(0, 1))
        computed = {}
        if "action" in terms:
            computed["action"] = (self.expert(z) - batch.actions_BHA).square().mean()
            if self.poison and bool(torch.isin(batch.index_B, torch.tensor(self.poison, device=z.device)).any()):
                computed["action"] = computed["action"] * float("nan")
        if "align" in terms:
            computed["align"] = (z - self.target(x).detach()).square().mean()
        if "lam.size" in terms:
            computed["lam.size"] = z.square().mean()
        return Losses(computed, {"z_std": z.detach().std()})

    def forward(self, batch: Batch, terms: frozenset[str]) -> Losses:
        return self.losses(batch, terms)

    def after_step(self) -> None:
        with torch.no_grad():
            for mine, online in zip(self.target.parameters(), self.expert.inner.parameters(), strict=True):
                mine.lerp_(online, 0.1)

    def act(self, observation: Observation, *, steps: int, generator: torch.Generator | None = None) -> ActionChunk:
        x = self.backbone(observation.state_BS)
        return ActionChunk(actions_BHA=self.expert(self.encoder(x, observation.embodiment_B)))


def toy_batch(index: np.ndarray) -> Batch:
    """The samples with these indices; every number is a function of the index."""
    generators = [torch.Generator().manual_seed(int(i)) for i in index]
    n = len(index)
    state = torch.stack([torch.randn(WIDTH, generator=g) for g in generators])
    actions = torch.stack([torch.randn(HORIZON, ACTION, generator=g) for g in generators])
    images = torch.stack([torch.randint(0, 256, (1, 3, 8, 8), generator=g, dtype=torch.uint8) for g in generators])
    return Batch(
        observation=Observation(
            images_BVCHW=images,
            state_BS=state,
            instruction=tuple(f"task {i}" for i in index),
            embodiment_B=torch.as_tensor(index % 4),
            action_dims_BA=torch.ones(n, ACTION, dtype=torch.bool),
        ),
        actions_BHA=actions,
        action_mask_BHA=torch.ones(n, HORIZON, ACTION, dtype=torch.bool),
        frames_BFVCHW=images[:, None].expand(n, 2, 1, 3, 8, 8),
        frame_mask_BF=torch.ones(n, 2, dtype=torch.bool),
        index_B=torch.as_tensor(index),
    )


@dataclass
class ToyCard:
    name: str = "toy"

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name}


@dataclass
class ToyData:
    """length samples in an order that is a function of the step alone. `seen` records what each loader gave."""

    length: int = 1000
    held_out: int = 8
    seen: list[int] = field(default_factory=list)

    def loader(self, *, start_step: int, batch_size: int, rank: int, world: int, workers: int) -> Iterator[Batch]:
        torch.rand(())  # a real loader draws its workers' seed when it starts
        step, share = start_step, batch_size // world
        while True:
            order = (np.arange(step * batch_size, (step + 1) * batch_size) * 7919 + 13) % self.length
            self.seen.append(step)
            yield toy_batch(order[rank * share : (rank + 1) * share])
            step += 1

    def validation_batches(self, *, batch_size: int, limit: int):
        for k in range(min(limit, self.held_out // batch_size)):
            yield toy_batch(self.length + np.arange(k * batch_size, (k + 1) * batch_size))

    def prepare(self) -> None:
        pass

    def summary(self) -> str:
        return f"{self.length} samples"

    def notes(self) -> list[str]:
        return ["everything is a toy"]

    def cards(self) -> ToyCard:
        return ToyCard()

    def __len__(self) -> int:
        return self.length


WEIGHTS = {
    "action": 1.0,
    "align": {"value": 0.1, "schedule": "linear", "steps": 6},
    "lam": {"size": {"value": 0.01, "schedule": "stop", "steps": 5}},
}


def run(output: Path, *, system: Toy | None = None, data: ToyData | None = None, **changes: Any) -> TrainResult:
    """Trains a toy. changes: of Stage (steps, learn, weights, load), OptimConfig, RuntimeConfig, or train()."""
    stage = {"name": "toy", "learn": ("policy", "lam"), "weights": WEIGHTS, "steps": 4}
    optim: dict[str, Any] = {"lr": 1e-2, "warmup_steps": 2, "ema_decay": 0.9, "lr_scale": {"lam": 0.5}}
    runtime: dict[str, Any] = {"device": "cpu", "batch_size": 4, "log_every": 3, "save_every": 2, "validation_limit": 2}
    rest: dict[str, Any] = {"seed": 7, "config": {}}
    for key, value in changes.items():
        for settings, known in (
            (stage, Stage.__dataclass_fields__),
            (optim, OptimConfig.__dataclass_fields__),
            (runtime, RuntimeConfig.__dataclass_fields__),
            (rest, (key,)),
        ):
            if key in known:
                settings[key] = value
                break
    return train(
        system=system or Toy(),
        data=data or ToyData(),
        stage=Stage(**stage),
        optim=OptimConfig(**optim),
        runtime=RuntimeConfig(**runtime),
        output=output,
        **rest,
    )


def same_run(a: TrainResult, b: TrainResult) -> list[str]:
    """What differs between two runs' last checkpoints and logs, bit for bit; [] when nothing does."""
    files = sorted({p.name for r in (a, b) for p in r.checkpoint.iterdir()})
    differ = [
        f
        for f in files
        if not all((r.checkpoint / f).exists() for r in (a, b))
        or (a.checkpoint / f).read_bytes() != (b.checkpoint / f).read_bytes()
    ]
    logs = [(r.output / "metrics.jsonl").read_bytes() for r in (a, b)]
    return differ + (["metrics.jsonl"] if logs[0] != logs[1] else [])
