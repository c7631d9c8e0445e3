"""Reading files that came from elsewhere: safetensors and JSON, with a message instead of a stack of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lara.errors import CheckpointError
from lara.store.plain import parse_json, read_plain, require_plain


def read_file(path: Path) -> dict[str, Tensor]:
    """All tensors of one .safetensors file on the CPU. Raises CheckpointError."""
    try:
        require_plain(path, CheckpointError)
        return load_file(path, device="cpu")
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path}: expected a safetensors file, got {type(error).__name__}: {error}; was the download interrupted, "
            "or is it a Git LFS pointer (a text file of 130 bytes)?"
        ) from error


def json_object(path: Path) -> dict[str, Any]:
    """One JSON object. Raises CheckpointError."""
    try:
        found = parse_json(read_plain(path, CheckpointError), path, CheckpointError)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a JSON object, got {type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found
