"""Files of strangers, read as data: plain files only, of a bounded size, JSON of bounded depth that means one thing.

A file that came with a checkpoint may be a pipe that never ends, a link to another file of this machine, or text that
takes Python hours to parse. Nothing here quotes what a file contains: the file may not be the one it seems to be.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from lara.errors import LaraError

LARGEST = 64 * 2**20  # bytes of a JSON file
DEEPEST = 64
LONGEST_NUMBER = 40  # digits; a 64 bit number has 20, a float that survives exactly 24


class _Refused(ValueError):
    pass


def read_plain(path: Path, error: type[LaraError], *, limit: int = LARGEST) -> bytes:
    """The content of a plain file (see `require_plain`) of at most `limit` bytes.

    Raises:
        FileNotFoundError: there is none.
        OSError: the file system refuses to give it.
        LaraError: of the class `error`, for anything else than a plain file, and for a larger one.
    """
    require_plain(path, error)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise error(f"{path} is not a plain file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise error(f"{path}: expected at most {limit} bytes, got more")
    return content


def require_plain(path: Path, error: type[LaraError]) -> None:
    """Nothing for a regular file, or a link to one that stays inside the folder (or inside a Hugging Face cache).

    Raises:
        FileNotFoundError: there is none.
        LaraError: of the class `error`, for pipes, devices, folders, and links that lead elsewhere.
    """
    folder = path.parent.resolve()
    try:
        real = path.resolve(strict=True)
    except RuntimeError as loop:  # Python before 3.13 for links that lead to themselves
        raise error(f"{path} is a link that leads nowhere") from loop
    blobs = folder.parent.parent / "blobs" if folder.parent.name == "snapshots" else None
    if path.is_symlink() and not (real.is_relative_to(folder) or (blobs and real.parent == blobs)):
        raise error(f"{path} is a link that leaves its folder; give a folder that holds the files themselves")
    if not stat.S_ISREG(real.stat().st_mode):
        raise error(f"{path} is not a plain file")


def parse_json(content: bytes | str, where: object, error: type[LaraError]) -> Any:
    """JSON as data: UTF-8, finite numbers of a sane length, no name twice in one object, nested at most `DEEPEST` deep.

    Args:
        content: of a bounded size.
        where: what the error names.
        error: what to raise.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        data = json.loads(
            text, parse_int=_integer, parse_float=_real, parse_constant=_constant, object_pairs_hook=_object
        )
    except _Refused as refused:
        raise error(f"{where}: {refused}") from None
    except RecursionError:
        raise error(f"{where}: nested deeper than {DEEPEST} levels") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as damage:
        place = f"line {damage.lineno}" if isinstance(damage, json.JSONDecodeError) else f"byte {damage.start}"
        raise error(f"{where}: expected JSON, damaged at {place}") from None
    require_shallow(data, where, error)
    return data


def require_shallow(data: Any, where: object, error: type[LaraError]) -> None:
    """Raises when dicts and lists are nested more than `DEEPEST` deep."""
    level = [data]
    for _ in range(DEEPEST):
        level = [
            inside
            for value in level
            if isinstance(value, dict | list)
            for inside in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise error(f"{where}: nested deeper than {DEEPEST} levels")


def require_literal(data: Any, where: object, error: type[LaraError]) -> None:
    """Raises when a string holds "${": nothing is looked up for a file, and what it meant cannot be what it says.

    For configurations. The error names the place inside; the text itself is not repeated.
    """
    rest: list[tuple[str, Any]] = [("", data)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, dict):
            rest += [(f"{path}.{key}"[:200], inside) for key, inside in value.items()]
            rest += [(f"{path} (a name)", key) for key in value if isinstance(key, str)]
        elif isinstance(value, list):
            rest += [(f"{path}[{k}]"[:200], inside) for k, inside in enumerate(value)]
        elif isinstance(value, str) and "${" in value:
            raise error(
                f"{where}: the text at '{path.lstrip('.')}' holds '${{'; what comes from a file is data, and no "
                "reference or resolver in it is followed. Write the value itself there, if the file is yours"
            )


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise _Refused(f"a whole number has {len(digits)} digits, at most {LONGEST_NUMBER} are read")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits) if len(digits) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise _Refused("a number is too long or too large to be read")
    return value


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Refused("a name stands twice in one object")
    return found


@contextmanager
def decoding(where: object, error: type[LaraError]) -> Iterator[None]:
    """For a block that takes a record apart: a value of another kind than expected becomes `error`, not a traceback."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as other:
        missing = f"no {other}" if isinstance(other, KeyError) else type(other).__name__
        raise error(
            f"{where}: holds other values than a file of this kind ({missing}); it is damaged, or was written by "
            "another version of lara"
        ) from other
