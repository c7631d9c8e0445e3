"""What is looked at: the dataset behind an address, its cameras, and whatever is known about its robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lara.config.build import build
from lara.data.robot import RobotCard
from lara.data.sources.hub import resolve_root
from lara.data.sources.lerobot.fix_stats import fix_stats
from lara.data.sources.source import Source
from lara.data.sources.videos import open_source
from lara.errors import ConfigError, nearest


def opened(root: Path | str, form: Mapping[str, Any] | None = None) -> Source:
    """A folder or a hub:// address as a source. Raises DataError when it is no dataset.

    form: the configuration of a `Format` (data.format); whatever the folder holds where None.
    """
    folder = resolve_root(root)
    if form is not None:
        return build(form, "data").open(folder)
    return cast(Source, open_source(folder))


def looked_at(source: Source, wanted: Sequence[str]) -> tuple[str, ...]:
    """The cameras wanted, each once; all of them where none is. Raises ConfigError for one that is not there."""
    for camera in wanted:
        if camera not in source.cameras:
            raise ConfigError(
                f"{source.root}: no camera '{camera}'. {nearest(camera, source.cameras)} (data=lerobot looks at all)"
            )
    return tuple(dict.fromkeys(wanted)) or source.cameras


def card_of(source: Source, given: RobotCard | Mapping[str, Any] | None) -> tuple[RobotCard | None, str]:
    """The card of the body, and who says so. given: data.robot."""
    if given is not None:
        return (given if isinstance(given, RobotCard) else RobotCard.from_dict(dict(given))), "data.robot"
    return source.robot, "the dataset itself"


def fixed(root: Path | str, folder: Path) -> list[str]:
    """What `fix_stats` changed, in lines. Raises ConfigError for a snapshot of the Hub, which other programs share."""
    if str(root).startswith("hub:"):
        raise ConfigError(
            f"{root}: --fix-stats would change a copy that other programs share and that its commit no longer names; "
            f"copy the folder {folder} and give data.root the copy"
        )
    changes = fix_stats(folder)
    return [f"meta/stats.json: {line}" for line in changes] or ["meta/stats.json: right already, not touched"]
