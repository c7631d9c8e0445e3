"""Where exported weights come from."""

from __future__ import annotations

from typing import Any

from lara.store.checkpoint import Checkpoint
from lara.store.export import AVERAGE, LAST, Export
from lara.store.files import sha256_of
from lara.store.manifest import MANIFEST


def origin(saved: Checkpoint | Export, *, ema: bool) -> dict[str, Any]:
    """The "from" of an export's card: run, step, system, which of the two sets of weights, the manifest's sha256."""
    return {
        "run": saved.config.get("name", saved.name),
        "step": saved.step,
        "system": saved.config["system"]["_target_"],
        "weights": AVERAGE if saved.has_ema and ema else LAST,
        "manifest_sha256": sha256_of(saved.path / MANIFEST),
    }
