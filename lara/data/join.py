"""Batches of different datasets put into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lara.types import Batch, Observation


def with_views(batch: Batch, views: int) -> Batch:
    """The same samples with black pictures for the cameras that this dataset lacks, behind those it has."""
    images = batch.observation.images_BVCHW
    missing = views - images.shape[1]
    if not missing:
        return batch
    if images.shape[1]:
        black = images.new_zeros(len(images), missing, *images.shape[2:])
        images = torch.cat([images, black], dim=1)
    else:
        images = images.new_zeros(len(images), views, *images.shape[2:])
    return replace(batch, observation=replace(batch.observation, images_BVCHW=images))


def joined(batches: Sequence[Batch], places: np.ndarray) -> Batch:
    """One batch of all samples.

    Args:
        batches: of shapes that agree but for the number of samples.
        places: (B,) where each sample of the batches, one after the other, stands in the result.

    Returns:
        B samples. Codes and latents that only some batches have are masked in the others.
    """
    order = torch.from_numpy(np.argsort(places, kind="stable"))

    def of(get: Callable[[Batch], Tensor]) -> Tensor:
        return torch.cat([get(batch) for batch in batches])[order]

    instructions = [text for batch in batches for text in batch.observation.instruction]
    observation = Observation(
        images_BVCHW=of(lambda b: b.observation.images_BVCHW),
        state_BS=of(lambda b: b.observation.state_BS),
        instruction=tuple(instructions[k] for k in order.tolist()),
        embodiment_B=of(lambda b: b.observation.embodiment_B),
        action_dims_BA=of(lambda b: b.observation.action_dims_BA),
    )
    codes = _filled([b.codes_BT for b in batches], batches, -1)
    latents = _filled([b.latents_BTVD for b in batches], batches, 0)
    real = _filled([b.latent_mask_BT for b in batches], batches, 0)
    return Batch(
        observation=observation,
        actions_BHA=of(lambda b: b.actions_BHA),
        action_mask_BHA=of(lambda b: b.action_mask_BHA),
        frames_BFVCHW=of(lambda b: b.frames_BFVCHW),
        frame_mask_BF=of(lambda b: b.frame_mask_BF),
        index_B=of(lambda b: b.index_B),
        codes_BT=None if codes is None else codes[order],
        latents_BTVD=None if latents is None else latents[order],
        latent_mask_BT=None if real is None else real[order],
    )


def _filled(parts: Sequence[Tensor | None], batches: Sequence[Batch], absent: int) -> Tensor | None:
    """All of them, `absent` in those of batches that have none; None where no batch has any."""
    there = next((part for part in parts if part is not None), None)
    if there is None:
        return None
    out = [
        there.new_full((len(batch), *there.shape[1:]), absent) if part is None else part
        for part, batch in zip(parts, batches, strict=True)
    ]
    return torch.cat(out)
