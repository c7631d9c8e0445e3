"""A checkpoint is a folder of safetensors and JSON that is whole or absent.

    <output>/checkpoints/latest                     the name of the newest one
    <output>/checkpoints/step-00000100/
        system.safetensors  parts.json              weights and buffers by name; part -> module path
        ema.safetensors                             the moving average, where there is one
        optimizer.safetensors  optimizer.json       AdamW's state by PARAMETER NAME; the groups
        rng.safetensors                             python, numpy, torch, cuda; one row per rank
        train.json  config.json  data.json  versions.json
        manifest.json                               size and sha256 of every other file; written last

It is written under a temporary name, every file and the folder flushed to the disk, renamed once, the parent flushed;
only then `latest` moves, and only then old ones go. Nothing here is ever unpickled or executed.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from lara.errors import CheckpointError
from lara.store.files import (
    fsync_path,
    remove_leftovers,
    replace_file,
    retire_folder,
    storage,
    whole_folder,
    write_new,
)
from lara.store.manifest import MANIFEST, check_manifest, write_manifest
from lara.store.plain import decoding, read_plain, require_literal
from lara.store.records import read_json, to_json
from lara.store.tensors import load_tensors, save_tensors

REQUIRED = {
    "system.safetensors",
    "parts.json",
    "optimizer.safetensors",
    "optimizer.json",
    "rng.safetensors",
    "train.json",
    "config.json",
    "data.json",
    "versions.json",
}
OPTIONAL = {"ema.safetensors"}
_FOLDER = re.compile(r"step-(\d{8,})")
_log = logging.getLogger("lara.train")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint folder whose files have been checked; tensors are read when asked for, and never kept.

    path: the step folder. name: e.g. "step-00000100".
    """

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration of the run."""
        return self._record("config")

    @cached_property
    def card(self) -> dict[str, Any]:
        """The data card, as `TrainingData.card().to_dict()` gave it."""
        return self._record("data")

    @cached_property
    def train(self) -> dict[str, Any]:
        """Step, sampler position, schedule, counters."""
        return self._record("train")

    @cached_property
    def versions(self) -> dict[str, Any]:
        return self._record("versions")

    @cached_property
    def optimizer_groups(self) -> dict[str, Any]:
        return self._record("optimizer")

    @cached_property
    def part_paths(self) -> dict[str, str]:
        """Part name -> module path, the prefix of its tensors' names."""
        return self._record("parts")

    @property
    def step(self) -> int:
        with decoding(self.path / "train.json", CheckpointError):
            return int(self.train["step"])

    @property
    def has_ema(self) -> bool:
        return (self.path / "ema.safetensors").exists()

    def weights(self, ema: bool) -> dict[str, Tensor]:
        """The system's whole state_dict on the CPU. ema: with the moving averages in place, where the run kept any."""
        weights = self.tensors("system")
        if ema and self.has_ema:
            averages = self.tensors("ema")
            unknown = sorted(set(averages) - set(weights))
            if unknown:
                raise CheckpointError(f"{self.path}: averages of tensors that the system has not: {unknown[:5]}")
            weights |= averages
        return weights

    def _record(self, which: str) -> dict[str, Any]:
        return read_record(self.path / f"{which}.json")

    def tensors(self, which: str) -> dict[str, Tensor]:
        """The content of `<which>.safetensors`."""
        return load_tensors(self.path / f"{which}.safetensors")


def read_record(path: Path) -> dict[str, Any]:
    """A JSON object without references ("${...}"). Raises CheckpointError for anything else."""
    record = read_json(path, CheckpointError)
    if not isinstance(record, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(record).__name__}")
    require_literal(record, path, CheckpointError)
    return record


def write_checkpoint(
    output: Path, *, step: int, tensors: Mapping[str, Mapping[str, Tensor]], records: Mapping[str, Any], keep_last: int
) -> Path:
    """Writes step-<step>, moves `latest`, then removes all but the newest `keep_last`.

    One process per `output` only; the caller holds its lock (`lara.store.lock`).

    Args:
        output: the run's folder.
        step: updates so far.
        tensors: {"system": ..., "rng": ..., ...}, one safetensors file each.
        records: {"train": ..., ...}, one JSON file each.
        keep_last: at least the new one is kept.

    Returns:
        The checkpoint's folder.

    Raises:
        StoreError: the file system refused (disk full, say); the earlier checkpoints are as they were.
        CheckpointError: a sound checkpoint of this step is there already.
    """
    folder = output / "checkpoints"
    with storage(folder, "make"):
        folder.mkdir(parents=True, exist_ok=True)
        fsync_path(output)
    target = folder / f"step-{step:08d}"
    _move_damaged_away(target)
    with whole_folder(target) as temporary:
        for name, content in tensors.items():
            save_tensors(temporary / f"{name}.safetensors", content)
        for name, record in records.items():
            write_new(temporary / f"{name}.json", to_json(record, sort_keys=True))
        write_manifest(temporary, "checkpoint")
    replace_file(folder / "latest", f"{target.name}\n".encode())
    _prune(folder, keep_last=keep_last, newest=target)
    return target


def _move_damaged_away(target: Path) -> None:
    if not target.exists():
        return
    try:
        read_checkpoint(target)
    except CheckpointError as error:
        aside = target.with_name(f"damaged-{target.name}-{uuid.uuid4().hex[:12]}")
        _log.warning("%s exists already and does not load (%s); kept as %s", target, error, aside.name)
        with storage(target, "move"):
            os.rename(target, aside)
        return
    raise CheckpointError(
        f"{target} is there already and sound, and the run that writes it now did not start from it; another run "
        "wrote to this folder. Give this one an output folder of its own."
    )


def _prune(folder: Path, *, keep_last: int, newest: Path) -> None:
    """Old checkpoints and the temporary folders of dead processes. What cannot be removed stays, with a warning."""
    try:
        for path in [path for path in step_folders(folder) if path != newest][max(0, keep_last - 1) :]:
            retire_folder(path)
    except OSError as error:
        _log.warning("could not remove old checkpoints in %s (%s); the new one is safe", folder, error)
    remove_leftovers(folder, locked=True)


def step_folders(folder: Path) -> list[Path]:
    """Step folders, newest first."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _FOLDER.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def load_latest(output: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that verifies; None when there is none at all.

    Skipped ones are named in a warning, with the reason. Raises CheckpointError when there are checkpoints, but none
    of them verifies: starting over must be a person's decision.
    """
    folders = step_folders(output / "checkpoints")
    skipped = []
    for path in folders:
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            _log.warning("SKIPPED checkpoint %s: %s", path, error)
            skipped.append(f"  {path.name}: {error}")
            continue
        return checkpoint
    if skipped:
        raise CheckpointError(
            f"{output}: none of {len(skipped)} checkpoints verifies:\n" + "\n".join(skipped) + "\n"
            "Restore one from a copy, or start anew in another output folder."
        )
    return None


def read_checkpoint(path: str | Path, *, verify: bool = True) -> Checkpoint:
    """Opens a checkpoint whose every file is there and unchanged.

    Args:
        path: a step folder, or a run folder, of which `latest` is taken.
        verify: compare every file's sha256 with the manifest; otherwise only names and sizes.

    Raises:
        CheckpointError: something is missing, cut short, changed, or does not belong there.
        StoreError: the file system refuses to give it.
    """
    path = resolve(Path(path))
    check_manifest(path, "checkpoint", CheckpointError, required=REQUIRED, optional=OPTIONAL, verify=verify)
    return Checkpoint(path)


def resolve(path: Path) -> Path:
    """The folder with the manifest: `path` itself, or the newest checkpoint of the run at `path`."""
    if (path / MANIFEST).exists() or _FOLDER.fullmatch(path.name):
        return path
    pointer = path / "checkpoints" / "latest"
    if (path / "policy.safetensors").exists():
        raise CheckpointError(f"{path} was exported by an earlier lara, without checksums; export the run again")
    if not pointer.exists():
        raise CheckpointError(
            f"{path} is neither a checkpoint or export (no {MANIFEST}) nor a run with one (no checkpoints/latest); "
            "give <output>, <output>/checkpoints/step-..., or an exported folder"
        )
    with storage(pointer, "read"):
        name = read_plain(pointer, CheckpointError, limit=4096).decode(errors="replace").strip()
    if not _FOLDER.fullmatch(name):
        raise CheckpointError(f"{pointer}: expected the name of a checkpoint such as step-00000100, got something else")
    return path / "checkpoints" / name
