"""Some parts of a system as a folder of their own, without what they were trained with: a LAM, or a policy.

    <output>/config.json         a configuration that builds exactly these parts, and the data they were trained on
             model.safetensors   their weights and buffers, under the names that they have in the system
             card.json           what they are, where they come from, what of the data matters to them
             manifest.json       size and sha256 of the others

It is whole or absent. Whatever starts from a run (lara eval, lara label, lara probe, stage.load) starts from an
exported folder as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from lara.errors import CheckpointError
from lara.store.checkpoint import Checkpoint, read_checkpoint, read_record, resolve
from lara.store.files import write_new
from lara.store.manifest import MANIFEST, check_manifest, kind_of, write_manifest
from lara.store.records import to_json
from lara.store.tensors import load_tensors, save_tensors

FILES = {"model.safetensors", "config.json", "card.json"}
CARD_KEYS = {"format", "what", "from", "parts", "data", "versions"}
LAST, AVERAGE = "last step", "moving average"  # which of a run's two sets of weights


@dataclass(frozen=True)
class Export:
    """An exported folder whose files have been checked; tensors are read when asked for, and never kept.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def config(self) -> dict[str, Any]:
        """Builds exactly these parts ("system"), and says which data they were trained on ("data")."""
        return read_record(self.path / "config.json")

    @cached_property
    def about(self) -> dict[str, Any]:
        """The whole card.json."""
        card = read_record(self.path / "card.json")
        if not set(card) >= CARD_KEYS:
            raise CheckpointError(f"{self.path}/card.json: {sorted(CARD_KEYS - set(card))} missing; export it again")
        return card

    @property
    def card(self) -> dict[str, Any]:
        """What of the data matters to these parts: for a policy the whole data card, for a LAM which frames it saw."""
        card: dict[str, Any] = self.about["data"]
        return card

    @property
    def step(self) -> int:
        """Of the run that it was cut from."""
        return int(self.about["from"]["step"])

    @property
    def part_paths(self) -> dict[str, str]:
        """Part name -> module path, the prefix of its tensors' names."""
        paths: dict[str, str] = self.about["parts"]
        return paths

    @property
    def versions(self) -> dict[str, Any]:
        versions: dict[str, Any] = self.about["versions"]
        return versions

    @property
    def has_ema(self) -> bool:
        """Whether its weights are a moving average. An export has one set of weights, never both."""
        average: bool = self.about["from"]["weights"] == AVERAGE
        return average

    def weights(self, ema: bool) -> dict[str, Tensor]:
        """The exported tensors on the CPU.

        Args:
            ema: True takes the moving average where there is one.

        Raises:
            CheckpointError: ema is False and the export holds the moving average, not the last step's weights.
        """
        if self.has_ema and not ema:
            raise CheckpointError(
                f"{self.path} holds the moving average alone, and ema=false asks for the last step's weights; "
                "use ema=true, or export the run again with ema=false"
            )
        return self.tensors()

    def tensors(self) -> dict[str, Tensor]:
        """The exported tensors on the CPU, whichever of the run's two sets they are."""
        return load_tensors(self.path / "model.safetensors")


def fill_export(
    folder: Path, *, tensors: Mapping[str, Tensor], config: Mapping[str, Any], card: Mapping[str, Any]
) -> None:
    """Fills the empty folder of a `whole_folder` block.

    Args:
        folder: still under its temporary name.
        tensors: under the names that they have in the system.
        config: {"system": ..., and "name", "data" where they are of use}.
        card: {"format": 1, "what": "lam" or "policy", "from": {"step", "weights", ...}, "parts": part name -> module
            path, "data": {...}, "versions": {...}} and whatever else describes these parts.

    Raises:
        CheckpointError: the card lacks one of these keys.
    """
    if not set(card) >= CARD_KEYS:
        raise CheckpointError(f"an export's card needs {sorted(CARD_KEYS)}, {sorted(CARD_KEYS - set(card))} is missing")
    save_tensors(folder / "model.safetensors", tensors)
    write_new(folder / "config.json", to_json(config, sort_keys=True))
    write_new(folder / "card.json", to_json(card, sort_keys=True))
    write_manifest(folder, "export")


def read_export(path: str | Path, *, verify: bool = True) -> Export:
    """Opens an exported folder whose every file is there and unchanged. Raises as `read_checkpoint`."""
    path = Path(path)
    check_manifest(path, "export", CheckpointError, required=FILES, optional=(), verify=verify)
    return Export(path)


def read_saved(path: str | Path, *, verify: bool = True) -> Checkpoint | Export:
    """Opens a run folder (its `latest`), one checkpoint folder, or an exported folder. Raises as `read_checkpoint`."""
    found = resolve(Path(path))
    if (found / MANIFEST).exists() and kind_of(found, CheckpointError) == "export":
        return read_export(found, verify=verify)
    return read_checkpoint(found, verify=verify)
