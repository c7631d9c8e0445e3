"""Named tensors in one safetensors file, tied ones included."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lara.errors import CheckpointError
from lara.store.files import explained, storage
from lara.store.plain import parse_json, require_plain

_ALIASES = "aliases"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a new file, for use inside `whole_folder`.

    Names that are one and the same tensor (tied weights) are written once and listed as aliases; tensors that share
    only a part of their memory are written in full, each on its own.
    """
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    storages: set[tuple[Any, ...]] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        storage = (str(tensor.device), tensor.untyped_storage().data_ptr())
        identity = (*storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and identity in seen:
            aliases[name] = seen[identity]
            continue
        seen[identity] = name
        # a second tensor of one storage is copied, because safetensors refuses memory that overlaps
        kept[name] = tensor.clone().contiguous() if storage in storages else tensor.contiguous()
        storages.add(storage)
    try:
        save_file(kept, path, metadata={_ALIASES: json.dumps(aliases, sort_keys=True)})
    except SafetensorError as error:  # it carries the operating system's answer as text only
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise explained(OSError(int(code[1]), str(error)), path, "write") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors on the CPU, aliases expanded (to the same tensor). Raises CheckpointError for a damaged file."""
    try:
        require_plain(path, CheckpointError)
        with storage(path, "read"):
            tensors = load_file(path, device="cpu")
            with safe_open(path, framework="pt") as file:
                aliases = parse_json((file.metadata() or {}).get(_ALIASES, "{}"), path, CheckpointError)
        return {**tensors, **{name: tensors[source] for name, source in aliases.items()}}
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a safetensors file, got {type(error).__name__}: {error}") from error
