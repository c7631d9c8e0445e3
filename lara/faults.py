"""What the machine refuses (disk, memory, rights, processes), said with its remedy instead of a traceback.

One table by errno and one by the words of errors that carry no errno. `lara.cli` asks it about every exception that is
not a LaraError; what it does not know is an internal error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

from lara.errors import LaraError, MachineError
from lara.store import files

# errno -> what to do; the operating system's own words and the path stand before it
REMEDIES = {
    **files.REMEDIES,
    errno.ENOMEM: "the machine has no memory left; use a smaller batch, fewer workers or a larger machine",
    errno.EAGAIN: "no further process or thread may be started (ulimit -u); use fewer workers or processes",
    errno.ECONNREFUSED: "nobody answers at this address; start the server, or give the right address",
}

REFUSALS = {errno.EACCES, errno.EPERM, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}

MEMORY = REMEDIES[errno.ENOMEM]
WORKER = (
    "a loader or worker process died, most often because the machine ran out of memory; "
    "use fewer workers (runtime.workers, label.workers or processes), and the same command goes on"
)

# words of errors whose type tells nothing (torch raises RuntimeError for all of these)
WORDS = (
    (r"DataLoader worker .*(exited unexpectedly|is killed by signal)", WORKER),
    (r"received 0 items of ancdata", REMEDIES[errno.EMFILE]),
    (r"unable to (mmap|allocate|write to file)|can't allocate memory|bad_alloc|[Oo]ut of memory", MEMORY),
    (r"unable to open shared memory object|Bus error", "the shared memory (/dev/shm) is full; use fewer workers"),
    (r"No space left on device", REMEDIES[errno.ENOSPC]),
    (r"Read-only file system", REMEDIES[errno.EROFS]),
    (r"Permission denied", REMEDIES[errno.EACCES]),
    (r"Too many open files", REMEDIES[errno.EMFILE]),
    (r"Stale file handle", REMEDIES[errno.ESTALE]),
    (r"File too large", REMEDIES[errno.EFBIG]),
)


def explained(error: BaseException) -> LaraError | None:
    """The error in our words, if it or one of its causes is a fault of the machine; None if it is nobody's but ours.

    A LaraError comes back as it is: whoever raised it knew more.
    """
    if isinstance(error, LaraError):
        return error
    for one in _with_causes(error):
        remedy = _remedy(one)
        if remedy is not None:
            return MachineError(f"{_said(one)}; {remedy}")
    return None


def refused(error: BaseException) -> MachineError | None:
    """A MachineError where a file could not be read because of this machine; None where the file itself may be damaged.

    For readers that call unreadable files damaged: a missing right or too many open files say nothing about the file.
    """
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return MachineError(f"{_said(error)}; {REMEDIES[error.errno]}")
    return None


@contextlib.contextmanager
def ctrl_c_held() -> Iterator[None]:
    """Processes started inside never hear Ctrl-C (a terminal sends it to all of them): ending them is the parent's.

    The parent itself hears one that comes meanwhile at the end. A mask, unlike a handler, outlives the exec of a spawn.
    """
    resource_tracker.ensure_running()  # started later, by the first spawn, it would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remedy(error: BaseException) -> str | None:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's own, torch unimported
        return MEMORY
    if type(error).__name__ == "BrokenProcessPool":
        return WORKER
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return REMEDIES[error.errno]
    if isinstance(error, RuntimeError | OSError) or type(error).__name__ == "SafetensorError":
        return next((remedy for words, remedy in WORDS if re.search(words, str(error))), None)
    return None


def _said(error: BaseException) -> str:
    """The first line of the error's own words, with the path where it has one."""
    if isinstance(error, OSError) and error.errno is not None:
        places = [os.fsdecode(p) for p in (error.filename, error.filename2) if isinstance(p, str | bytes)]
        return ": ".join([*places[:1], os.strerror(error.errno)])
    first = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
