"""Whatever a folder holds: a LeRobotDataset of any version, or videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.format import LeRobot, OnError
from lara.data.sources.lerobot.keys import KeyMap
from lara.data.sources.source import Format, Source
from lara.data.sources.videos import Videos
from lara.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AnyFormat:
    """A LeRobotDataset if there is a meta/, even a damaged one; else a folder of videos.

    Attributes:
        keys, on_error, max_skipped: of a LeRobotDataset, see `LeRobot`; a folder of videos has neither columns nor
            episodes that it can be without, so giving them there is an error.
    """

    buildable: ClassVar[str] = "data"

    keys: KeyMap | Mapping[str, Any] | None = None
    on_error: OnError = "refuse"
    max_skipped: int = 10

    def __post_init__(self) -> None:
        self._lerobot()

    def open(self, root: Path | str) -> Source:
        """See `Format.open`."""
        root = Path(root)
        if (root / paths.INFO).parent.is_dir():
            found: Format = self._lerobot()
            return found.open(root)
        if KeyMap.of(self.keys) != KeyMap() or self.on_error != "refuse":
            raise ConfigError(
                f"{root} is no LeRobotDataset (it has no meta/), so data.format.keys and data.format.on_error mean "
                "nothing there; leave them out"
            )
        found = Videos()
        return found.open(root)

    def _lerobot(self) -> LeRobot:
        return LeRobot(keys=self.keys, on_error=self.on_error, max_skipped=self.max_skipped)
