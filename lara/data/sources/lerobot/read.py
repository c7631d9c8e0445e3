"""Open a LeRobotDataset of any known version from its metadata; `validate` compares the metadata with the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lara.data.frames.decode import VideoReader
from lara.data.robot import RobotCard
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.keys import KeyMap, resolve, unsliced
from lara.data.sources.lerobot.meta_v2 import read_v2
from lara.data.sources.lerobot.meta_v3 import read_v3
from lara.data.sources.lerobot.metadata import read_info, require_totals
from lara.data.sources.lerobot.modality import FILE, read_modality
from lara.data.sources.lerobot.source import LeRobotSource
from lara.data.sources.source import Finding
from lara.data.sources.validate import validate
from lara.errors import DataError
from lara.store.records import read_json

__all__ = ["EpisodeRow", "LeRobotSource", "open_dataset", "validate"]


def open_dataset(
    root: Path | str, *, keys: KeyMap | Mapping[str, Any] | None = None, reader: VideoReader | None = None
) -> LeRobotSource:
    """Read meta/ (nothing else yet, unless episodes were taken out of the episode table).

    Args:
        root: a LeRobotDataset v2.0, v2.1 or v3.0.
        keys: which columns are what, where they are not called as usual.
        reader: decodes video; PyAV when not given.

    Raises:
        DataError: for another version, for metadata that is missing, damaged or contradicts itself, and for columns
            whose role nobody says.
        ConfigError: for keys that are not there.
    """
    root = Path(root)
    info = read_info(root)
    ours = [p.name.removeprefix("labels.").removesuffix(".json") for p in sorted((root / "meta").glob("labels.*.json"))]
    resolved = resolve(root, info["features"], said=KeyMap.of(keys), modality=read_modality(root), ours=ours)
    read = read_v3 if info["codebase_version"] == "v3.0" else read_v2
    found = read(root, info, resolved.cameras)
    notes = [
        Finding(
            severity="unusual", kind="numbers without a name", where=str(root / FILE), said=f"no slice holds {said}"
        )
        for said in unsliced(resolved)
    ]
    require_totals(root, info, found.episodes)
    about = read_json(root / paths.LARA, DataError) if (root / paths.LARA).exists() else None
    return LeRobotSource(
        root=root,
        info=info,
        keys=resolved,
        tasks=found.tasks,
        episodes=found.episodes,
        robot=RobotCard.from_dict(about["robot"]) if about else None,
        notes=(*found.notes, *notes),
        reader=reader,
    )
