"""JSON on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lara.errors import LaraError
from lara.store.files import explained, replace_file
from lara.store.plain import parse_json, read_plain


def to_json(data: Any, *, sort_keys: bool = False) -> bytes:
    """The bytes of a record; Python's floats survive exactly.

    Args:
        data: dicts, lists, strings, numbers, None.
        sort_keys: equal data gives equal bytes, whatever the order in which its keys were set.

    Raises:
        ValueError: NaN or infinity, which JSON has not.
    """
    return (json.dumps(data, indent=1, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, data: Any) -> None:
    """Replaces `path` by `data` as JSON in one step. Raises ValueError as `to_json`, StoreError as `replace_file`."""
    replace_file(path, to_json(data))


def read_json(path: Path, error: type[LaraError]) -> Any:
    """The JSON in `path`, which is a plain file of a bounded size (`lara.store.plain`).

    Args:
        path: a file.
        error: what it means to the caller when the file is missing or damaged.

    Raises:
        StoreError: the file is there and the file system refuses to give it.
    """
    try:
        return parse_json(read_plain(path, error), path, error)
    except FileNotFoundError as missing:
        raise error(
            f"{path}: expected a JSON file, found nothing; write it again, or restore it from a copy"
        ) from missing
    except OSError as refused:
        raise explained(refused, path, "read") from refused
