"""Writes that are either whole or absent: temporary name, flush to disk, rename."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lara.errors import DataError


def fsync_path(path: Path) -> None:
    """Flush one file, or the entry list of one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data` as JSON in one step. NaN and infinity are refused (ValueError): JSON has neither."""
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex}")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fsync_path(path.parent)


def read_json(path: Path) -> Any:
    """The JSON in `path`. Raises DataError when the file is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: expected a JSON file, found nothing; write it again or copy it from the source"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: expected JSON, got something else ({error}); copy the file again") from error


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends well, and disappears when it raises.

    A killed process leaves only a `.tmp-...` folder beside the target, which nobody reads. Raises DataError if
    `target` exists already: published folders are never overwritten.
    """
    if target.exists():
        raise DataError(f"{target}: expected no such folder, but it exists; remove it first or choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{target.name}-{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.rglob("*"), reverse=True):
            fsync_path(path)
        fsync_path(temporary)
        try:
            os.rename(temporary, target)
        except OSError as error:
            raise DataError(f"{target}: could not be published, another process made it meanwhile ({error})") from error
        fsync_path(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
