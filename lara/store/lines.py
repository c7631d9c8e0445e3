"""Files of JSON lines: one record per line, each on the disk before the next begins."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lara.errors import LaraError
from lara.store.files import storage
from lara.store.plain import parse_json, read_plain

LARGEST = 2**30  # bytes of one file


@dataclass(frozen=True)
class Lines:
    """Attributes:
    records: what stands on the whole lines, in order; record k on line k + 1.
    whole: bytes up to the end of the last whole line. What follows is what a dying writer left.
    """

    records: list[Any]
    whole: int


def read_lines(path: Path, error: type[LaraError]) -> Lines:
    """Reads a file of JSON lines without touching it; a file that is not there has none.

    Raises:
        LaraError: of the class `error`, with file and line, for a line that is not JSON. A last line without its
            newline is no error: a kill leaves one.
        StoreError: the file system refused.
    """
    data = b""
    if path.exists():  # asked first: `storage` makes a StoreError of what is not there
        with storage(path, "read"):
            data = read_plain(path, error, limit=LARGEST)
    whole = data.rfind(b"\n") + 1
    if _parsed(data[whole:-1]) is not None:  # a whole record and one byte: its newline was changed, not torn off
        raise error(f"{path}:{data.count(bytes([10])) + 1}: the end of the line was changed; restore it from a copy")
    records = []
    for number, line in enumerate(data[:whole].split(b"\n")[:-1], start=1):
        record = _parsed(line)
        if record is None:
            raise error(f"{path}:{number}: expected one JSON record, got something else; restore the file from a copy")
        records.append(record)
    return Lines(records, whole)


def append_line(path: Path, record: Any) -> None:
    """Adds one line and waits until it is on the disk. Raises StoreError; a torn line is then cut off again."""
    content = (json.dumps(record, sort_keys=True, allow_nan=False) + "\n").encode()
    with storage(path, "write"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            before = os.fstat(descriptor).st_size
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)
            except BaseException:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)


def cut_torn_line(path: Path, lines: Lines) -> None:
    """Removes what follows the last whole line."""
    with storage(path, "write"):
        if path.exists() and lines.whole < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(lines.whole)


def _parsed(line: bytes) -> Any:
    """The record; None for what is not JSON (null is no record)."""
    try:
        return parse_json(line, "", LaraError)
    except LaraError:
        return None
