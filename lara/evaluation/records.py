"""One line of JSON per finished episode: append-only, synced, and readable after a crash at any byte."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lara.errors import DataError


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """What came of one (task, episode).

    success:  None exactly when `error` is set: an exception is not a failure of the policy, it is no measurement.
    steps:    environment steps that the policy was responsible for (settling excluded).
    seconds:  wall time of the episode.
    clipped:  how many numbers of the parts of chunks meant for execution lay outside the limits and were clipped.
    replans:  how often the policy was asked.
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


class EpisodeLog:
    """The append-only file `episodes.jsonl` of a run.

    Opening it reads what is there. A last line without its newline is what a kill leaves behind: it is cut off, and its
    episode counts as not run. Any other unreadable line is damage: DataError with the line number. A second line for a
    (task, episode) is accepted only after an error (a retried episode); everything else is a duplicate: DataError.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._records, whole = _read(self.path)
        if self.path.exists() and whole < self.path.stat().st_size:
            with self.path.open("r+b") as file:
                file.truncate(whole)

    @property
    def records(self) -> dict[tuple[str, int], EpisodeRecord]:
        """The last record of each (task, episode), in order of first completion."""
        return dict(self._records)

    @property
    def finished(self) -> set[tuple[str, int]]:
        """What need not run again: everything recorded without an error."""
        return {key for key, record in self._records.items() if record.error is None}

    def append(self, record: EpisodeRecord) -> None:
        """Writes one line and waits until it is on disk. DataError for a duplicate."""
        _reject_duplicate(self._records, record, str(self.path))
        line = json.dumps(asdict(record), sort_keys=True) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._records[record.key] = record


def read_records(path: Path) -> list[EpisodeRecord]:
    """The last record of each (task, episode) of a log, without touching the file. DataError as for `EpisodeLog`."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"expected episode records in {path}, found no such file; run the evaluation first")
    return list(_read(path)[0].values())


def _read(path: Path) -> tuple[dict[tuple[str, int], EpisodeRecord], int]:
    """(records, number of bytes up to the end of the last whole line)."""
    records: dict[tuple[str, int], EpisodeRecord] = {}
    if not path.exists():
        return records, 0
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            record = _record_from_dict(json.loads(line.decode()), where)
        except ValueError as error:
            raise DataError(f"{where}: expected one JSON record, got {line[:80]!r}; the file is damaged") from error
        _reject_duplicate(records, record, where)
        records[record.key] = record
    return records, whole


def _record_from_dict(data: Any, where: str) -> EpisodeRecord:
    expected = {f.name for f in fields(EpisodeRecord)}
    if not isinstance(data, dict) or set(data) != expected:
        got = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{where}: a record has the keys {sorted(expected)}, got {got}")
    return EpisodeRecord(**data)


def _reject_duplicate(records: dict[tuple[str, int], EpisodeRecord], record: EpisodeRecord, where: str) -> None:
    earlier = records.get(record.key)
    if earlier is not None and earlier.error is None:
        raise DataError(
            f"{where}: episode ({record.task}, {record.episode}) is recorded twice; two processes wrote to one run, "
            "or two files were joined: start again in a new folder"
        )
