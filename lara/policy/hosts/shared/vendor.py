"""Filling a host from a public checkpoint, and writing its weights back under the vendor's prefix.

How the names of one checkpoint become ours stands in each family's names.py. Some tables of a vendor's checkpoint act
nowhere (a language head that is tied or unread); they are not kept, and writing fills them in, so that the vendor's
strict loader finds every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lara.policy.hosts.shared.hub import local_folder
from lara.policy.hosts.shared.weights import fill, read_safetensors

# statistics that lerobot before 0.4 kept among the weights; lara reads a dataset's own
STATISTICS = r"(normalize_inputs|normalize_targets|unnormalize_outputs)\..*"


def bare(key: str) -> str:
    """A lerobot key without its "model." (openpi's keys have none)."""
    return key.removeprefix("model.")


def load(
    module: nn.Module, source: Mapping[str, Tensor] | str | Path, *, revision: str | None, rename: Any, prepare: Any
) -> dict[str, int]:
    """Fills a host from tensors, a file, a folder or a hub name; every parameter must be there (CheckpointError)."""
    if isinstance(source, Mapping):
        tensors, name = source, "the given tensors"
    else:
        tensors, name = read_safetensors(local_folder(str(source), revision=revision)), str(source)
    return fill(module, prepare(tensors), rename=rename, ignore=(STATISTICS,), source=name)


def written(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a vendor's prefix, as a state dict to be written."""
    return {f"{prefix}{key}": value.detach() for key, value in tensors.items()}
