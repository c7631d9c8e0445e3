"""How a training ended, for whoever called it and, as `result.json` in the run's folder, for whoever started it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from lara.errors import CheckpointError
from lara.store.files import replace_file
from lara.store.records import read_json, to_json

RESULT = "result.json"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What `train` returns.

    Attributes:
        output: the run's folder.
        checkpoint: the newest checkpoint's folder.
        step, steps: updates done, and those that the stage has.
        metrics: the last log line.
        nonfinite: updates that were skipped because a loss or a gradient was not finite.
        signal: number of the signal that stopped it, None when it ended by itself.
        exit_code: what the process should end with (see train.signals); 0 only when `finished`.
    """

    output: Path
    checkpoint: Path
    step: int
    steps: int
    metrics: dict[str, float]
    nonfinite: int
    signal: int | None = None
    exit_code: int = 0

    @property
    def finished(self) -> bool:
        """All steps of the stage are done; otherwise the same command goes on."""
        return self.step >= self.steps


def write_result(output: Path, *, step: int, steps: int, exit_code: int | None, signal: int | None = None) -> None:
    """Replaces <output>/result.json: {"finished", "step", "steps", "exit", "signal"}.

    It is written when a run starts, with every checkpoint, and when it ends. `exit` is null until then, so a file with
    null beside no living process means that the run was killed or failed. `step` is that of the newest checkpoint.
    """
    record = {"finished": step >= steps, "step": step, "steps": steps, "exit": exit_code, "signal": signal}
    content = to_json(record, sort_keys=True)
    path = output / RESULT
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    output.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


def read_result(output: Path) -> dict[str, object] | None:
    """The record of a run; None where no training ever started.

    Raises:
        CheckpointError: the file holds something else.
    """
    path = output / RESULT
    if not path.exists():
        return None
    record = read_json(path, CheckpointError)
    if not isinstance(record, dict) or not isinstance(record.get("finished"), bool):
        raise CheckpointError(f"{path}: expected an object with finished, step, steps, exit and signal; got {record!r}")
    return record
