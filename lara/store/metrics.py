"""A run's log of numbers, as it is read back: lines of {"step": 3, "loss": 0.5, ...}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lara.errors import LaraError
from lara.store.fields import COUNT, NUMBER_OR_NULL, check_field
from lara.store.lines import Lines, read_lines

METRICS = "metrics.jsonl"


def read_metrics(path: Path, error: type[LaraError]) -> Lines:
    """The whole lines of a log, each a mapping with a step, whose other values are numbers or null (not finite).

    Raises:
        LaraError: of the class `error`, with file and line, for anything else.
        StoreError: the file system refused.
    """
    lines = read_lines(path, error)
    for number, record in enumerate(lines.records, start=1):
        _require_metrics(record, f"{path}:{number}", error)
    return lines


def _require_metrics(record: Any, where: str, error: type[LaraError]) -> None:
    if not isinstance(record, dict) or "step" not in record:
        raise error(f"{where}: expected a mapping with a step, got {record!r:.80}; restore the file from a copy")
    for name, value in record.items():
        check_field(value, COUNT if name == "step" else NUMBER_OR_NULL, name, where, error)
