"""The loss on held-out batches: the same batches with the same noise every time, training's own noise untouched."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch
from accelerate import Accelerator

from lara.systems.system import System
from lara.train.data import TrainingData
from lara.train.ema import EMA
from lara.train.rng import isolated_rng, seed_everything
from lara.train.runtime import RuntimeConfig
from lara.train.stage import AppliedStage
from lara.train.step import weighted_sum

_STREAM = 0x56414C  # keeps the noise apart from training's, for any seed


def validate(
    *,
    system: System,
    applied: AppliedStage,
    ema: EMA | None,
    data: TrainingData,
    runtime: RuntimeConfig,
    weights: Mapping[str, float],
    accelerator: Accelerator,
    seed: int,
) -> dict[str, float]:
    """Means over samples of the weighted loss, every term, and every metric; {} without held-out batches.

    Judges the moving average where there is one, in eval mode. Batch k always meets the same noise. Every rank does all
    batches, so that a system whose forward communicates cannot wait for ever.
    """
    device = accelerator.device
    asked = frozenset(weights)
    sums: dict[str, torch.Tensor] = {}
    samples: dict[str, int] = {}
    applied.system.eval()
    with isolated_rng(device), torch.no_grad(), ema.swapped() if ema is not None else contextlib.nullcontext():
        batches = data.validation_batches(batch_size=runtime.batch_size, limit=runtime.validation_limit)
        for k, batch in enumerate(batches):
            seed_everything(seed, rank=k, stream=_STREAM)
            with accelerator.autocast():
                losses = system.losses(batch.to(device), asked)
            for name, value in {"loss": weighted_sum(losses, weights), **losses.terms, **losses.metrics}.items():
                value = torch.as_tensor(value, device=device).detach().float() * len(batch)
                sums[name] = sums[name] + value if name in sums else value
                samples[name] = samples.get(name, 0) + len(batch)
    applied.train()
    if not sums:
        return {}
    means = torch.stack([sums[name].reshape(()) / samples[name] for name in sums]).tolist()
    return {f"validation/{name}": mean for name, mean in zip(sums, means, strict=True)}
