"""Which files of a folder are videos: all of them, also behind links, each once."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lara.errors import DataError
from lara.faults import refused

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
_ABOUT = {".json", ".jsonl", ".txt", ".md", ".csv", ".parquet"}  # what lies beside videos and says something about them


@dataclass(kw_only=True)
class Found:
    """videos: in the order of their relative paths. others: how many files of each other suffix, those that only tell
    about videos not counted. again: folders that were met a second time, through a link."""

    videos: tuple[Path, ...] = ()
    others: Counter[str] = field(default_factory=Counter)
    again: list[Path] = field(default_factory=list)

    def said_of_others(self) -> str:
        """The most frequent kinds and how many."""
        return ", ".join(f"{suffix or 'no suffix'} ({n})" for suffix, n in self.others.most_common(5))


def find_videos(root: Path) -> Found:
    """Every video below `root`, whatever the case of its suffix, also in linked folders; not in hidden ones.

    A folder that can be reached in several ways is entered once, by its own path before any link to it, so that links
    in a circle end and no file is read twice. Raises DataError for a root that is no folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected a LeRobotDataset or a folder of videos, found neither: no such folder")
    found, videos = Found(), []
    entered: set[tuple[int, int]] = set()
    waiting, linked = [root], list[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                found.again.append(folder)
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if (known := refused(error)) is not None:
                raise known from error
            raise DataError(f"{folder}: cannot be listed ({error})") from error
        for entry in entries:
            path, suffix = folder / entry.name, Path(entry.name).suffix.lower()
            if entry.is_dir():
                if not entry.name.startswith("."):
                    (linked if entry.is_symlink() else waiting).append(path)
            elif suffix in SUFFIXES and not entry.name.startswith("."):
                videos.append(path)
            elif suffix not in _ABOUT and not entry.name.startswith("."):
                found.others[suffix] += 1
    found.videos = tuple(sorted(videos, key=lambda path: path.relative_to(root).as_posix()))
    return found
