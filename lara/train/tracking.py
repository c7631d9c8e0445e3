"""Where the numbers go. JSON lines always; TensorBoard and Weights & Biases when asked for."""

from __future__ import annotations

import contextlib
import json
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from lara.errors import CheckpointError, missing_extra
from lara.store.files import replace_file
from lara.store.metrics import METRICS, read_metrics

TIMING = "time/"


class Tracker(Protocol):
    """open() comes once before the first log() and says at which step the run starts (0, or where it is resumed);
    what was logged after that step belongs to a lost piece of the run. close() comes at the end, also after an error.
    Only rank 0 has trackers. Names that begin with "time/" depend on the machine; all others are reproducible.
    """

    def open(self, *, output: Path, config: Mapping[str, Any], step: int) -> None: ...

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class JsonlTracker:
    """<output>/metrics.jsonl, one line per logged step; timing goes to timing.jsonl, so that metrics.jsonl of a resumed
    run equals that of an uninterrupted one byte for byte. A number that is not finite becomes null (JSON has none).
    """

    buildable: ClassVar[str] = "run"

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def open(self, *, output: Path, config: Mapping[str, Any], step: int) -> None:
        output.mkdir(parents=True, exist_ok=True)
        for name in (METRICS, "timing.jsonl"):
            path = output / name
            if path.exists():
                _cut_after(path, step)
            self._files[name] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, wants_timing in ((METRICS, False), ("timing.jsonl", True)):
            chosen = {k: v for k, v in values.items() if k.startswith(TIMING) == wants_timing}
            if chosen:
                # sorted, because a window that went through a checkpoint may come back in another order
                finite = {k: v if math.isfinite(v) else None for k, v in sorted(chosen.items())}
                line = json.dumps({"step": step, **finite}, ensure_ascii=False, allow_nan=False) + "\n"
                os.write(self._files[name], line.encode())
                os.fsync(self._files[name])  # a checkpoint of this step must not outlive the line

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}


def _cut_after(path: Path, step: int) -> None:
    """Removes lines of later steps, and a last line that a dying process left torn. Raises CheckpointError."""
    try:
        lines = read_metrics(path, CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; or move it away to resume without the old log") from error
    content = path.read_bytes()
    whole = content[: lines.whole].splitlines(keepends=True)
    kept = b"".join(line for line, record in zip(whole, lines.records, strict=True) if record["step"] <= step)
    if kept != content:
        replace_file(path, kept)


def open_trackers(
    trackers: Sequence[Tracker], *, output: Path, config: Mapping[str, Any], step: int, cleanup: contextlib.ExitStack
) -> list[Tracker]:
    """Opens them all, JSON lines always among them; `cleanup` closes them."""
    jsonl = [] if any(isinstance(t, JsonlTracker) for t in trackers) else [JsonlTracker()]
    everyone: list[Tracker] = [*jsonl, *trackers]
    for tracker in everyone:
        cleanup.callback(tracker.close)
        tracker.open(output=output, config=config, step=step)
    return everyone


class TensorboardTracker:
    """<output>/tensorboard. Lines of a lost piece of the run are hidden by TensorBoard's purge step."""

    buildable: ClassVar[str] = "run"

    def __init__(self) -> None:
        self._writer: Any = None

    def open(self, *, output: Path, config: Mapping[str, Any], step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("tensorboard", "tensorboard", "the TensorBoard tracker") from error
        self._writer = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1 if step else None)
        self._writer.add_text("config", f"```json\n{json.dumps(config, indent=1)}\n```", global_step=step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=step)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandbTracker:
    """Weights & Biases, offline unless told otherwise (`wandb sync <output>/wandb/...` uploads later).

    A resumed run keeps its id (<output>/wandb-id.txt). W&B drops steps that it has seen; metrics.jsonl is the record.
    """

    buildable: ClassVar[str] = "run"

    def __init__(
        self,
        *,
        project: str = "lara",
        name: str | None = None,
        entity: str | None = None,
        mode: Literal["offline", "online", "disabled"] = "offline",
    ) -> None:
        self.project, self.name, self.entity, self.mode = project, name, entity, mode
        self._run: Any = None

    def open(self, *, output: Path, config: Mapping[str, Any], step: int) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing_extra("wandb", "wandb", "the Weights & Biases tracker") from error
        output.mkdir(parents=True, exist_ok=True)
        known = output / "wandb-id.txt"
        if not known.exists():
            replace_file(known, uuid.uuid4().hex[:8].encode())
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.name or output.name,
            id=known.read_text().strip(),
            dir=str(output),
            mode=self.mode,
            config=dict(config),
            resume="allow" if self.mode == "online" else None,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None
