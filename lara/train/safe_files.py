"""Files that are whole or absent, whatever instant the process or the machine dies.

The rule: write under a temporary name, flush every file to the disk, flush the folder, ONE rename, flush the parent.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lara.data.atomic import fsync_path
from lara.errors import CheckpointError

TEMPORARY = ".tmp-"


def write_synced(path: Path, content: bytes) -> None:
    """A new file, on the disk when this returns. Not atomic: for files inside a folder that is published by rename."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """`path` holds either its old content or `content`, never anything else."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)  # left by a process of the same number that died here
    write_synced(temporary, content)
    os.replace(temporary, path)
    fsync_path(path.parent)


def publish_folder(temporary: Path, target: Path) -> None:
    """A finished folder under its final name. `target` must not exist."""
    fsync_path(temporary)
    os.rename(temporary, target)
    fsync_path(target.parent)


def to_json(data: Any) -> bytes:
    """Stable bytes for equal data; Python's floats survive exactly (NaN too, which strict JSON has not)."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def from_json(path: Path) -> Any:
    """Raises CheckpointError when the file is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected a JSON file, got {type(error).__name__}: {error}") from error


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
