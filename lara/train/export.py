"""Some parts of a system as a folder of their own, without what they were trained with.

    <output>/config.json         a configuration that builds exactly these parts, and the data they were trained on
             model.safetensors   their weights and buffers, under the names that they have in the system
             card.json           what they are, where they come from, what of the data matters to them
             manifest.json       size and sha256 of the others

It is whole or absent, and `train.checkpoint.read_checkpoint` reads it like a checkpoint: whatever starts from a run
(lara label, lara probe, stage.load) starts from an exported folder as well.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lara.errors import CheckpointError
from lara.train.checkpoint import SCHEMA
from lara.train.safe_files import TEMPORARY, publish_folder, sha256_of, to_json, write_synced
from lara.train.tensor_files import save_tensors

CARD_KEYS = {"format", "what", "from", "parts", "data", "versions"}


def write_export(
    output: Path, *, tensors: Mapping[str, Tensor], config: Mapping[str, Any], card: Mapping[str, Any]
) -> Path:
    """Writes the folder and returns it.

    card: {"format": 1, "what": a word, "from": {"step": ..., ...}, "parts": part name -> module path, "data": {...},
    "versions": {...}} and whatever else describes these parts. Raises CheckpointError when `output` exists, or when
    the card lacks one of these keys.
    """
    if not set(card) >= CARD_KEYS:
        raise CheckpointError(f"an export's card needs {sorted(CARD_KEYS)}, {sorted(CARD_KEYS - set(card))} is missing")
    if output.exists():
        raise CheckpointError(f"{output} exists already; remove it or give another output folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f"{TEMPORARY}{output.name}-{uuid.uuid4().hex[:12]}")
    temporary.mkdir()
    try:
        save_tensors(temporary / "model.safetensors", tensors)
        write_synced(temporary / "config.json", to_json(config))
        write_synced(temporary / "card.json", to_json(card))
        files = {p.name: {"sha256": sha256_of(p), "bytes": p.stat().st_size} for p in sorted(temporary.iterdir())}
        write_synced(temporary / "manifest.json", to_json({"schema": SCHEMA, "kind": "export", "files": files}))
        publish_folder(temporary, output)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return output
