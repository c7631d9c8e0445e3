"""Whether and where decoded frames are kept (see `frames.cache`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Caching:
    """folder: where caches live; None: `.lara-cache` in the dataset. workers: processes that decode; 0: this one."""

    buildable: ClassVar[str] = "data"

    folder: Path | str | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ConfigError(f"data.cache.workers is a number of processes, 0 or more; got {self.workers}")
