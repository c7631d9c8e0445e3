"""Where mathematics needs float32 although the step runs under autocast."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Autocast off on the device of `like` (the meta device knows no autocast, and needs none)."""
    if like.device.type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(like.device.type, enabled=False)
