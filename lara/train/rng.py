"""All the random generators of a process as plain tensors: saved, restored, and isolated without pickle."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from lara.errors import CheckpointError


def seed_everything(seed: int, *, rank: int = 0, stream: int = 0) -> None:
    """Python, numpy and torch (all devices); every (seed, rank, stream) has its own numbers, always the same."""
    words = np.random.SeedSequence([seed, rank, stream]).generate_state(3, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


def capture_rng(device: torch.device) -> dict[str, Tensor]:
    """The state of every generator, as tensors on the CPU. Shapes depend on the device's kind only."""
    _, words, gauss = random.getstate()
    algorithm, keys, position, has_gauss, cached = np.random.get_state()
    assert algorithm == "MT19937"
    states = {
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": torch.tensor([gauss is not None, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.tensor(np.append(keys, [position, has_gauss]).astype(np.int64)),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_rng(states: dict[str, Tensor], device: torch.device) -> None:
    """Inverse of `capture_rng`. Raises CheckpointError when a generator is missing or has another shape."""
    expected = {name: tuple(state.shape) for name, state in capture_rng(device).items()}
    found = {name: tuple(state.shape) for name, state in states.items()}
    if expected != found:
        raise CheckpointError(
            f"random state does not fit this machine: expected {expected}, found {found}. "
            "Resume on the kind of device that the run was started on."
        )
    has, value = states["python_gauss"].tolist()
    random.setstate((3, tuple(states["python"].tolist()), value if has else None))
    *keys, position, has_gauss = states["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, np.uint32), position, has_gauss, states["numpy_gauss"].item()))
    # cloned, because set_rng_state reads a view from the start of its storage, and not from the view's own start
    torch.set_rng_state(states["torch"].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].clone(), device)


@contextmanager
def isolated_rng(device: torch.device | None = None) -> Iterator[None]:
    """Whatever is drawn inside leaves the generators outside untouched. device: a CUDA device to include."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device is not None and device.type == "cuda" else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)  # type: ignore[arg-type]
