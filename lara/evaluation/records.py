"""One line of JSON per finished episode: append-only, synced, and readable after a crash at any byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lara.errors import DataError
from lara.store.fields import COUNT, DURATION, FLAG_OR_NULL, TEXT, TEXT_OR_NULL, Field, check_fields
from lara.store.lines import append_line, cut_torn_line, read_lines

CHECKSUM = "sha256"
_FIELDS: dict[str, Field] = {
    "task": TEXT,
    "episode": COUNT,
    "success": FLAG_OR_NULL,
    "steps": COUNT,
    "seconds": DURATION,
    "error": TEXT_OR_NULL,
    "clipped": COUNT,
    "replans": COUNT,
}


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """What came of one (task, episode).

    Attributes:
        success: None exactly when `error` is set: an exception is not a failure of the policy, it is no measurement.
        steps: environment steps that the policy was responsible for (settling excluded).
        seconds: wall time of the episode.
        clipped: how many numbers of the parts of chunks meant for execution lay outside the limits and were clipped.
        replans: how often the policy was asked.
    """

    task: str
    episode: int
    success: bool | None
    steps: int
    seconds: float
    error: str | None
    clipped: int
    replans: int

    def __post_init__(self) -> None:
        if (self.success is None) != (self.error is not None):
            raise DataError(
                f"episode ({self.task}, {self.episode}): success must be None exactly when there is an error, "
                f"got success={self.success!r}, error={self.error!r}"
            )

    @property
    def key(self) -> tuple[str, int]:
        return (self.task, self.episode)


def record_from_dict(data: Any, where: str) -> EpisodeRecord:
    """A record that came through JSON, every field checked. Raises DataError naming `where` and the field."""
    checked = check_fields(data, _FIELDS, where, DataError)
    try:
        return EpisodeRecord(**checked)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


class EpisodeLog:
    """The append-only file `episodes.jsonl` of a run.

    Opening it reads what is there. A last line without its newline is what a kill leaves behind: it is cut off, and its
    episode counts as not run. Every line carries a checksum; any other line that does not read, or does not fit it, is
    damage: DataError with file and line. A second line for a (task, episode) is accepted only after an error (a retried
    episode); everything else is a duplicate: DataError.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        lines = read_lines(self.path, DataError)
        self._records = _records(lines.records, self.path)
        cut_torn_line(self.path, lines)

    @property
    def records(self) -> dict[tuple[str, int], EpisodeRecord]:
        """The last record of each (task, episode), in order of first completion."""
        return dict(self._records)

    @property
    def finished(self) -> set[tuple[str, int]]:
        """What need not run again: everything recorded without an error."""
        return {key for key, record in self._records.items() if record.error is None}

    def append(self, record: EpisodeRecord) -> None:
        """Writes one line and waits until it is on the disk.

        Raises:
            DataError: a duplicate, or a field of the wrong type.
            StoreError: the file system refused; the log is as it was.
        """
        _reject_duplicate(self._records, record, str(self.path))
        data = asdict(record)
        check_fields(data, _FIELDS, f"episode ({record.task}, {record.episode})", DataError)
        append_line(self.path, {**data, CHECKSUM: _checksum(data)})
        self._records[record.key] = record


def read_records(path: Path) -> list[EpisodeRecord]:
    """The last record of each (task, episode) of a log, without touching the file. DataError as for `EpisodeLog`."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"expected episode records in {path}, found no such file; run the evaluation first")
    return list(_records(read_lines(path, DataError).records, path).values())


def _records(lines: list[Any], path: Path) -> dict[tuple[str, int], EpisodeRecord]:
    records: dict[tuple[str, int], EpisodeRecord] = {}
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        data = {k: v for k, v in line.items() if k != CHECKSUM} if isinstance(line, dict) else line
        record = record_from_dict(data, where)
        if line.get(CHECKSUM) != _checksum(data):
            raise DataError(f"{where}: the line was changed (its sha256 differs); restore it from a copy, or run anew")
        _reject_duplicate(records, record, where)
        records[record.key] = record
    return records


def _checksum(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _reject_duplicate(records: dict[tuple[str, int], EpisodeRecord], record: EpisodeRecord, where: str) -> None:
    earlier = records.get(record.key)
    if earlier is not None and earlier.error is None:
        raise DataError(
            f"{where}: episode ({record.task}, {record.episode}) is recorded twice; two processes wrote to one run, "
            "or two files were joined: start again in a new folder"
        )
