"""Batches by step number, made ahead of time by worker processes; the number of workers changes nothing but speed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lara.types import Batch


class _Steps(Dataset[Batch]):
    def __init__(self, make: Callable[[int], Batch]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> Batch:
        return self._make(step)


class _From(Sampler[int]):
    def __init__(self, start: int) -> None:
        self._start = start

    def __iter__(self) -> Iterator[int]:
        return count(self._start)


def batches(make: Callable[[int], Batch], *, start_step: int, workers: int) -> Iterator[Batch]:
    """Endless: make(start_step), make(start_step + 1), ...; pinned for the copy to a GPU where there is one.

    workers: processes that call `make` (0: this one). They end with the iterator.
    """
    loader = DataLoader(
        _Steps(make),
        batch_size=None,
        sampler=_From(start_step),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_parent if workers else None,
        persistent_workers=False,
    )
    pin = torch.cuda.is_available()
    for batch in loader:
        yield pinned(batch) if pin else batch


def _leave_signals_to_the_parent(worker: int) -> None:
    """A signal to the whole process group (Ctrl-C, a scheduler) must not end the workers: the training finishes its
    step and saves before it leaves, and ends them itself. They also notice when it is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def pinned(batch: Batch) -> Batch:
    """The same batch in page-locked memory. Images that are a view of the frames stay one."""
    frames, images = batch.frames_BFVCHW.pin_memory(), batch.observation.images_BVCHW
    shared = images.numel() > 0 and images.data_ptr() == batch.frames_BFVCHW.data_ptr()
    observation = replace(
        batch.observation,
        images_BVCHW=frames[:, 0] if shared else images.pin_memory(),
        state_BS=batch.observation.state_BS.pin_memory(),
        embodiment_B=batch.observation.embodiment_B.pin_memory(),
        action_dims_BA=batch.observation.action_dims_BA.pin_memory(),
    )
    return replace(
        batch,
        observation=observation,
        frames_BFVCHW=frames,
        actions_BHA=batch.actions_BHA.pin_memory(),
        action_mask_BHA=batch.action_mask_BHA.pin_memory(),
        frame_mask_BF=batch.frame_mask_BF.pin_memory(),
        index_B=batch.index_B.pin_memory(),
        codes_BT=_pinned(batch.codes_BT),
        latents_BTVD=_pinned(batch.latents_BTVD),
        latent_mask_BT=_pinned(batch.latent_mask_BT),
    )


def _pinned(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.pin_memory()
