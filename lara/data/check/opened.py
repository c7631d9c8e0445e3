"""What is looked at: the datasets of a configuration, and their cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.config.build import build
from lara.data.configuration import spread
from lara.data.sources.hub import resolve_root
from lara.data.sources.lerobot.fix_stats import fix_stats
from lara.data.sources.source import Source
from lara.errors import ConfigError, nearest


def sources_of(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> configuration of each dataset that a data configuration speaks of; of one alone the name is ""."""
    spread_out = spread(data)
    if "sources" in spread_out:
        return {name: dict(source) for name, source in spread_out["sources"].items()}
    return {"": dict(spread_out)}


def opened(data: Mapping[str, Any]) -> Source:
    """The dataset of one configuration: a folder or a hub:// address. Raises DataError when it is no dataset."""
    source: Source = build(data["format"], "data").open(resolve_root(data["root"]))
    return source


def views_of(data: Mapping[str, Any]) -> list[str]:
    """The cameras that a configuration names; none where it leaves them to the dataset."""
    lam = data.get("lam") or {}
    return [*(data.get("cameras") or ()), *(lam.get("cameras") or ())]


def looked_at(source: Source, wanted: Sequence[str]) -> tuple[str, ...]:
    """The cameras wanted, each once; all of them where none is. Raises ConfigError for one that is not there."""
    for camera in wanted:
        if camera not in source.cameras:
            raise ConfigError(
                f"{source.root}: no camera '{camera}'. {nearest(camera, source.cameras)} (data=lerobot looks at all)"
            )
    return tuple(dict.fromkeys(wanted)) or source.cameras


def fixed(root: Path | str, folder: Path) -> list[str]:
    """What `fix_stats` changed, in lines. Raises ConfigError for a snapshot of the Hub, which other programs share."""
    if str(root).startswith("hub:"):
        raise ConfigError(
            f"{root}: --fix-stats would change a copy that other programs share and that its commit no longer names; "
            f"copy the folder {folder} and give data.root the copy"
        )
    changes = fix_stats(folder)
    return [f"meta/stats.json: {line}" for line in changes] or ["meta/stats.json: right already, not touched"]
