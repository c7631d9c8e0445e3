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
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from lara.errors import CheckpointError
from lara.train.safe_files import (
    TEMPORARY,
    from_json,
    fsync_path,
    publish_folder,
    replace_file,
    sha256_of,
    to_json,
    write_synced,
)
from lara.train.tensor_files import load_tensors, save_tensors

SCHEMA = 1
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
EXPORTED = {"model.safetensors", "config.json", "card.json"}  # of a folder that train.export wrote
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
        record = from_json(self.path / f"{which}.json")
        if not isinstance(record, dict):
            raise CheckpointError(f"{self.path / which}.json: expected a JSON object, got {type(record).__name__}")
        return record

    def tensors(self, which: str) -> dict[str, Tensor]:
        """The content of `<which>.safetensors`."""
        return load_tensors(self.path / f"{which}.safetensors")


class Export(Checkpoint):
    """A folder that `train.export.write_export` made: some parts of a system, read like the checkpoint they came from.

    card: what of the data matters to these parts. about: the whole card.json.
    """

    @cached_property
    def about(self) -> dict[str, Any]:
        return self._record("card")

    @cached_property
    def card(self) -> dict[str, Any]:
        return self.about["data"]

    @cached_property
    def train(self) -> dict[str, Any]:
        return {"step": self.about["from"]["step"]}

    @cached_property
    def part_paths(self) -> dict[str, str]:
        return self.about["parts"]

    @cached_property
    def versions(self) -> dict[str, Any]:
        return self.about["versions"]

    def weights(self, ema: bool) -> dict[str, Tensor]:
        """The exported tensors; which of the run's two sets they are was decided by who exported them."""
        return self.tensors("model")


def write_checkpoint(
    output: Path, *, step: int, tensors: Mapping[str, Mapping[str, Tensor]], records: Mapping[str, Any], keep_last: int
) -> Path:
    """Writes step-<step>, moves `latest`, then removes all but the newest `keep_last`.

    tensors: {"system": ..., "rng": ..., ...}, one safetensors file each. records: {"train": ..., ...}, one JSON each.
    Returns the folder. OSError (disk full, say) leaves the checkpoints as they were. One process per `output` only.
    """
    folder = output / "checkpoints"
    if not folder.exists():
        folder.mkdir(parents=True)
        fsync_path(output)
    target = folder / f"step-{step:08d}"
    temporary = folder / f"{TEMPORARY}{target.name}-{uuid.uuid4().hex[:12]}"
    temporary.mkdir()
    for name, content in tensors.items():
        save_tensors(temporary / f"{name}.safetensors", content)
    for name, record in records.items():
        write_synced(temporary / f"{name}.json", to_json(record))
    files = {p.name: {"sha256": sha256_of(p), "bytes": p.stat().st_size} for p in sorted(temporary.iterdir())}
    write_synced(temporary / "manifest.json", to_json({"schema": SCHEMA, "files": files}))
    if target.exists():  # a damaged one: from a sound one the run would have been resumed
        aside = folder / f"damaged-{target.name}-{uuid.uuid4().hex[:12]}"
        _log.warning("%s exists already and did not load; kept as %s", target, aside.name)
        os.rename(target, aside)
    publish_folder(temporary, target)
    replace_file(folder / "latest", f"{target.name}\n".encode())
    _prune(folder, keep_last=keep_last, newest=target)
    return target


def _prune(folder: Path, *, keep_last: int, newest: Path) -> None:
    """Old checkpoints and the temporary folders of dead processes. What cannot be removed stays, with a warning."""
    old = [path for path in step_folders(folder) if path != newest][max(0, keep_last - 1) :]
    try:
        for path in old:
            # renamed first, so that a half-removed one is never taken for a checkpoint
            os.rename(path, folder / f"{TEMPORARY}old-{path.name}-{uuid.uuid4().hex[:12]}")
        for path in folder.glob(f"{TEMPORARY}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        _log.warning("could not remove old checkpoints in %s (%s); the new one is safe", folder, error)


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
    """A step folder, a run folder (then its `latest`), or an exported folder (then an `Export`).

    verify: compares every file's sha256 with the manifest; otherwise only names and sizes. Raises CheckpointError for
    anything missing, truncated, changed, or not belonging there.
    """
    path = _resolve(Path(path))
    manifest = from_json(path / "manifest.json")
    if (
        not isinstance(manifest, dict)
        or manifest.get("schema") != SCHEMA
        or not isinstance(manifest.get("files"), dict)
    ):
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise CheckpointError(
            f"{path}: expected a manifest of schema {SCHEMA}, got {schema!r}; use the lara that wrote it"
        )
    exported = manifest.get("kind") == "export"
    required, optional = (EXPORTED, set()) if exported else (REQUIRED, OPTIONAL)
    listed, present = set(manifest["files"]), {p.name for p in path.iterdir()} - {"manifest.json"}
    problems = [
        f"{text}: {', '.join(sorted(names))}"
        for text, names in (
            ("not listed in the manifest", present - listed),
            ("missing", listed - present),
            ("not part of a checkpoint", listed - required - optional),
            ("absent from the manifest", required - listed),
        )
        if names
    ]
    problems += [
        text for name in sorted(listed & present) if (text := _damage(path / name, manifest["files"][name], verify))
    ]
    if problems:
        raise CheckpointError(
            f"{path} is damaged: " + "; ".join(problems) + ". Use another checkpoint or a copy of it."
        )
    return Export(path) if exported else Checkpoint(path)


def _resolve(path: Path) -> Path:
    if (path / "manifest.json").exists() or _FOLDER.fullmatch(path.name):
        return path
    pointer = path / "checkpoints" / "latest"
    if not pointer.exists():
        raise CheckpointError(
            f"{path} is neither a checkpoint (no manifest.json) nor a run with one (no checkpoints/latest); "
            "give <output> or <output>/checkpoints/step-..."
        )
    name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if not _FOLDER.fullmatch(name):
        raise CheckpointError(f"{pointer}: expected the name of a checkpoint such as step-00000100, got {name[:60]!r}")
    return path / "checkpoints" / name


def _damage(path: Path, entry: Any, verify: bool) -> str | None:
    if path.is_symlink() or not path.is_file():
        return f"{path.name} is not a plain file"
    if not isinstance(entry, dict) or set(entry) != {"sha256", "bytes"}:
        return f"the manifest's entry of {path.name} is malformed"
    if path.stat().st_size != entry["bytes"]:
        return f"{path.name} has {path.stat().st_size} bytes instead of {entry['bytes']}"
    if verify and sha256_of(path) != entry["sha256"]:
        return f"{path.name} was changed (sha256 differs)"
    return None
