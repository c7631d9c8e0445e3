"""Gradient checkpointing of a host's blocks: forget activations, compute them again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch.utils.checkpoint import checkpoint

from lara.errors import ConfigError

Checkpointing = Literal["none", "non_reentrant"]


def known(checkpointing: str) -> Checkpointing:
    """The same word, known to be allowed. Raises ConfigError, with the reason for what cannot work."""
    if checkpointing == "reentrant":
        raise ConfigError(
            "reentrant checkpointing runs the first pass without gradients, so the states between blocks that an "
            "alignment taps would teach the policy nothing; use checkpointing=non_reentrant"
        )
    if checkpointing not in get_args(Checkpointing):
        raise ConfigError(f"checkpointing is one of {', '.join(get_args(Checkpointing))}; got {checkpointing!r}")
    return checkpointing  # type: ignore[return-value]


def run(function: Callable[..., Any], *inputs: Any, checkpointing: Checkpointing) -> Any:
    """function(*inputs); its activations are recomputed in the backward pass where asked for and of use."""
    if checkpointing == "none" or not torch.is_grad_enabled():
        return function(*inputs)
    # no dropout inside the hosts, so the state of the random generator need not be kept
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
