"""What is finished, on disk: `book.json` in the run's folder, replaced as a whole at each change."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lara.errors import DataError
from lara.runs.plan import Step
from lara.store.records import read_json, write_json

NAME = "book.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one step.

    Attributes:
        command: As it was run. Another command under the same name is another step.
        seconds: Of all attempts together.
        whole: Whether `seconds` is all that it took. False once an attempt ended without a word (SIGKILL, power).
        finished: Whether it ended well.
        running: Whether an attempt was begun and has not been closed.
    """

    command: str
    seconds: float = 0.0
    whole: bool = True
    finished: bool = False
    running: bool = False


class Book:
    """The entries of one run. Safe to use from several threads; one process at a time.

    Raises:
        DataError: The file is damaged or is no book.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.Lock()
        self._entries = _read(self.path) if self.path.exists() else {}

    def __getitem__(self, step: Step) -> Entry:
        """Raises KeyError for a step that was never begun."""
        return self._entries[step.name]

    def finished(self, step: Step) -> bool:
        """Whether this very command ended well before."""
        known = self._entries.get(step.name)
        return known is not None and known.finished and known.command == step.command

    def begin(self, step: Step) -> None:
        """An attempt starts. Seconds of earlier attempts at the same command are kept."""
        known = self._entries.get(step.name)
        if known is None or known.command != step.command or known.finished:
            known = Entry(command=step.command)
        self._put(step, known, whole=known.whole and not known.running, running=True)

    def end(self, step: Step, *, seconds: float, finished: bool) -> None:
        """The attempt is over.

        Args:
            step: That was begun.
            seconds: Of this attempt.
            finished: Whether nothing of the step is left to do.
        """
        known = self._entries[step.name]
        self._put(step, known, seconds=known.seconds + seconds, finished=finished, running=False)

    def forget(self, steps: Iterable[Step]) -> None:
        """These are to be run again, because what they read will change."""
        with self._lock:
            gone = [step.name for step in steps if self._entries.pop(step.name, None) is not None]
            if gone:
                self._write()

    def _put(self, step: Step, known: Entry, **changes: Any) -> None:
        with self._lock:
            self._entries[step.name] = Entry(**{**asdict(known), **changes})
            self._write()

    def _write(self) -> None:
        write_json(self.path, {name: asdict(entry) for name, entry in self._entries.items()})


def _read(path: Path) -> dict[str, Entry]:
    content = read_json(path, DataError)
    wanted: dict[str, type] = {"command": str, "seconds": float, "whole": bool, "finished": bool, "running": bool}
    well = isinstance(content, Mapping) and all(
        isinstance(entry, Mapping)
        and set(entry) == set(wanted)
        and all(type(entry[key]) is kind for key, kind in wanted.items())
        for entry in content.values()
    )
    if not well:
        raise DataError(
            f"{path}: expected what an earlier run wrote, step -> {list(wanted)}; remove the file, and the run asks "
            "each command anew what is left to do"
        )
    return {name: Entry(**entry) for name, entry in content.items()}
