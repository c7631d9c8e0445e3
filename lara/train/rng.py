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
    """Python, numpy and torch (all devices), independent per rank; the same arguments give the same numbers for ever."""
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
    torch.set_rng_state(states["torch"].contiguous())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].contiguous(), device)


@contextmanager
def isolated_rng(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside leaves the generators outside untouched."""
    states = capture_rng(device)
    try:
        yield
    finally:
        restore_rng(states, device)
