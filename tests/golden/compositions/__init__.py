"""What the golden losses are recorded of: every module here adds to one mapping, name -> how to build it.

A new module with a `COMPOSITIONS` of its own is found by its being here; nothing else has to name it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lara.types import Batch
from tests.tiny import tiny_batch


@dataclass(frozen=True)
class Composition:
    """system: builds it, from torch's seed 0. batch: what it learns from, the same at every step."""

    system: Callable[[], Any]
    batch: Callable[[], Batch] = tiny_batch


def redrawn(module: torch.nn.Module, seed: int = 7) -> torch.nn.Module:
    """The module with every weight drawn anew and what starts at zero opened, in the order of part and parameter names.

    The golden losses of what is built through this depend on what is computed, and not on the order in which a
    constructor happens to draw its weights.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, part in sorted(module.parts().items()):
            for _, p in sorted(part.named_parameters()):
                if p.is_floating_point() and p.numel() > 1 and p.min() < p.max():
                    spread = p[0].numel() ** -0.5 if p.ndim > 1 else 0.02
                    p.copy_(torch.randn(p.shape, generator=generator) * spread)
                elif p.is_floating_point() and not p.any():
                    p.copy_(torch.randn(p.shape, generator=generator) * 0.05)
    return module


def compositions() -> dict[str, Composition]:
    """Every composition of every module in this folder, by name; a name stands in one module only."""
    found: dict[str, Composition] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        added = importlib.import_module(f"{__name__}.{module}").COMPOSITIONS
        assert not set(found) & set(added), f"{module} names {sorted(set(found) & set(added))} a second time"
        found |= added
    return found
