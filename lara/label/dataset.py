"""The dataset that is labelled: its pictures and words count, its numbers do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.keys import KeyMap
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.videos import open_source


def open_for_labels(root: Path | str) -> Any:
    """A LeRobotDataset, whatever its actions and states are called, or a folder of videos. Raises DataError."""
    if (Path(root) / paths.INFO).parent.is_dir():
        return open_dataset(root, keys=KeyMap(action=(), state=()))
    return open_source(root)
