"""Files and folders that are whole or absent, whatever instant the process or the machine dies.

The rule, and there is no second one: write under a temporary name beside the target, flush every file to the disk,
flush the folder, ONE rename, flush the parent. A writer that fails takes its temporary along; one that was killed
cannot, so the next writer in that folder removes what dead writers left.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lara.errors import StoreError

TEMPORARY = ".tmp-"
_NAME = re.compile(re.escape(TEMPORARY) + r".*-(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{12}")
_LONGEST = 120  # characters of the target's name that its temporary repeats; file systems allow 255 in all
_FORGOTTEN = 7 * 24 * 3600.0  # seconds after which the temporary of an unreachable machine counts as left behind
_log = logging.getLogger("lara.store")

# errno -> what to do
REMEDIES = {
    errno.ENOSPC: "free some space or give an output on another disk; the same command then goes on",
    errno.EDQUOT: "your quota is used up: remove something or give an output elsewhere; the same command then goes on",
    errno.EFBIG: "a file outgrew the limit of this shell or file system (ulimit -f); raise it or write elsewhere",
    errno.EROFS: "this file system is mounted read-only; give an output that can be written",
    errno.EACCES: "you may not use this path; change its rights, or give one that you own",
    errno.EPERM: "you may not do this to this path; change its rights, or give one that you own",
    errno.ENOENT: "there is nothing at this path; check its spelling, or make the folder first",
    errno.EISDIR: "a file is needed here and this is a folder; give another path, or move the folder away",
    errno.ENOTDIR: "a part of this path is a file where a folder is needed; give another path, or move the file away",
    errno.EEXIST: "something stands at this path already; give another one, or move it away",
    errno.ENOTEMPTY: "another process put something there meanwhile; give each an output of its own",
    errno.ENAMETOOLONG: "a name on this path is longer than the file system allows; give a shorter one",
    errno.ESTALE: "the network file system lost this file (it was replaced or its server restarted); run again, and if "
    "that does not help mount the file system anew",
    errno.EIO: "the disk or network file system failed to read or write; look at its health (dmesg), then run again",
    errno.EMFILE: "too many files are open in this process; raise the limit (ulimit -n 4096) or use fewer workers",
    errno.ENFILE: "too many files are open on this machine; close other programs or raise fs.file-max",
    errno.ENOLCK: "this file system grants no locks; give an output on one that does, such as a local disk",
    errno.ENOTSUP: "this file system cannot do that; give an output on another one, such as a local disk",
    errno.ETXTBSY: "another program is using this file; wait for it or give another path",
}


def explained(error: OSError, path: Path, doing: str) -> StoreError:
    """What the operating system refused, as an error that names the path, the reason and the remedy.

    Args:
        error: what was raised; a file name in it is preferred to `path`.
        path: what was being worked on.
        doing: a verb, such as "write" or "read".
    """
    code = errno.errorcode.get(error.errno or 0, type(error).__name__)
    reason = REMEDIES.get(error.errno or 0, "see what the operating system says")
    where = error.filename if isinstance(error.filename, str | os.PathLike) else path
    beside = "" if str(where) == str(path) else f" (for {path})"
    said = os.strerror(error.errno) if error.errno else str(error)
    return StoreError(f"could not {doing} {os.fspath(where)}{beside}: {said} [{code}]; {reason}")


@contextmanager
def storage(path: Path, doing: str) -> Iterator[None]:
    """Turns every OSError of the block that comes from the operating system into a StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno not in errno.errorcode:  # a decoder's own numbers, or none at all
            raise
        raise explained(error, Path(path), doing) from error


def fsync_path(path: Path) -> None:
    """Flushes one file, or the entry list of one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, content: bytes) -> None:
    """A file that does not exist yet; neither atomic nor flushed, for use inside `whole_file` and `whole_folder`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; it replaces `path` when the block ends well.

    Raises:
        StoreError: the file system refused; `path` is what it was before.
    """
    path = Path(path)
    with storage(path, "write"), _temporary(path) as temporary:
        yield temporary
        fsync_path(temporary)
        os.replace(temporary, path)
        fsync_path(path.parent)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder to fill; it becomes `target` when the block ends well, and disappears otherwise.

    Raises:
        StoreError: `target` exists (what is published is never overwritten), or the file system refused.
    """
    target = Path(target)
    if target.exists():
        raise StoreError(f"{target} exists already; move it away, or choose another output folder")
    with storage(target, "write"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(target) as temporary:
            temporary.mkdir()
            yield temporary
            for path in sorted(temporary.rglob("*"), reverse=True):
                fsync_path(path)
            fsync_path(temporary)
            os.rename(temporary, target)
            fsync_path(target.parent)


def replace_file(path: Path, content: bytes) -> None:
    """`path` holds either its old content or `content`, never anything else."""
    with whole_file(path) as temporary:
        write_new(temporary, content)


def retire_folder(folder: Path) -> None:
    """Removes a folder; renamed first, so that a half-removed one is never taken for whole."""
    with _temporary(folder) as temporary:
        os.rename(folder, temporary)
        shutil.rmtree(temporary)


def remove_leftovers(folder: Path, *, locked: bool = False) -> None:
    """Removes temporaries of dead writers in `folder`; those that cannot be removed stay, with a warning.

    Args:
        folder: may be absent.
        locked: the caller holds the lock of this folder, so that every temporary in it is a leftover.
    """
    try:
        found = [entry for entry in os.scandir(folder) if entry.name.startswith(TEMPORARY)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if locked or _writer_is_dead(entry):
            try:
                _remove(Path(entry.path))
            except FileNotFoundError:
                continue  # another process removed it in this instant
            except OSError as error:
                _log.warning("could not remove %s, left by a dead process: %s", entry.path, error)


def sha256_of(path: Path) -> str:
    """The file's sha256 in hexadecimal. Raises StoreError when it cannot be read."""
    with storage(path, "read"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_active: set[str] = set()  # names of this process's own temporaries


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A fresh name beside `target`, of which nothing is left afterwards, however the block ends."""
    remove_leftovers(target.parent)
    name = f"{TEMPORARY}{target.name[:_LONGEST]}-{_place()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    _active.add(name)
    try:
        yield target.with_name(name)
    finally:
        with contextlib.suppress(OSError):  # what remains is a leftover, and another error is on its way
            _remove(target.with_name(name))
        _active.discard(name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _writer_is_dead(entry: os.DirEntry[str]) -> bool:
    """Whether nobody can still be writing this temporary. When in doubt it is left alone for a week."""
    match = _NAME.fullmatch(entry.name)
    if match and match["place"] == _place():
        pid = int(match["pid"])
        return entry.name not in _active if pid == os.getpid() else not _alive(pid)
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _FORGOTTEN
    except OSError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@cache
def _place() -> str:
    """Where process numbers mean something: this machine, since it was booted, in this container."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
