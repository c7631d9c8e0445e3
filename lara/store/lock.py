"""One process at a time in a folder: the kernel's lock on a file, let go by the kernel when its holder dies.

The file says who holds it, and stays behind unlocked; deleting it while somebody waits would let two in.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lara.errors import ConfigError
from lara.store.files import explained, storage

LOCK = ".lock"

_held: set[int] = set()  # descriptors of this process's locks


def _let_go_in_child() -> None:
    """A forked child shares the lock; it must not keep it when the parent has died."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


@contextmanager
def only_one(folder: Path, doing: str) -> Iterator[None]:
    """Holds the lock of `folder`, which is made if it is not there.

    Args:
        folder: what this process alone is to write to.
        doing: what it does there, e.g. "training"; part of the message.

    Raises:
        ConfigError: another process holds the lock; says which, where and since when. Nothing was changed.
        StoreError: the file system refused, or grants no locks.
    """
    folder = Path(folder)
    with storage(folder, "make"):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, wait=False, doing=doing):
        yield


def require_free(folder: Path, doing: str) -> None:
    """Raises ConfigError as `only_one` when another process holds the lock of `folder`; holds and makes nothing."""
    if (folder / LOCK).exists():
        with only_one(folder, doing):
            pass


@contextmanager
def locked(path: Path, *, wait: bool, doing: str) -> Iterator[None]:
    """Holds the lock of one file.

    Args:
        path: the lock file, made if it is not there.
        wait: until another holder is done; otherwise ConfigError names the holder.
        doing: part of the message.
    """
    with storage(path, "lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    _held.add(descriptor)
    try:
        _acquire(descriptor, path, wait, doing)
        with storage(path, "write"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_holder(doing)).encode(), 0)
        yield
    finally:
        if descriptor in _held:  # a forked child has closed it
            _held.discard(descriptor)
            os.close(descriptor)


def _acquire(descriptor: int, path: Path, wait: bool, doing: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise explained(error, path, "lock") from error
        raise ConfigError(
            f"{path.parent} is in use: {_said(descriptor)}. Wait for it, stop it, or choose another "
            "output; nothing was changed."
        ) from error


def _holder(doing: str) -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "doing": doing}


def _said(descriptor: int) -> str:
    """Who the lock file says holds it."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} has been {holder['doing']} there since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process works there, and has not said which it is"
