"""Keys that are called otherwise now, or whose setting is part of another: what an old command is answered with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lara.errors import ConfigError

# of one dataset, "data." or "data.sources.NAME." in front -> the key that says it now
DATA: dict[str, str] = {
    "cache_folder": "cache.folder",
    "cache_workers": "cache.workers",
    "codes": "lam.codes",
    "color_jitter": "augment.color_jitter",
    "frame_gap": "lam.gap",
    "frames": "lam.frames",
    "lam_cameras": "lam.cameras",
    "lam_image_size": "lam.image_size",
    "latents": "lam.latents",
    "max_episodes_per_task": "split.max_episodes_per_task",
    "random_shift": "augment.random_shift",
    "validation_fraction": "split.validation_fraction",
}
# these were settings of their own and are one choice now -> how it is written, as an example
ACTIONS: dict[str, str] = {
    "labels": "data.actions._target_=lara.data.actions.latent.LatentActions +data.actions.root=LABELS",
    "layout": "data=metaworld_unified",
    "relative": "data=relative",
}
_KEY = re.compile(r"((?:.*\.)?data(?:\.sources\.[^.]+)?)\.([^.]+)(\..+)?")


def renamed(key: str) -> str | None:
    """What to say of a key that no configuration has any more; None for one that none ever had.

    Args:
        key: dotted, as it was typed: "data.lam_cameras", "data.sources.robot.frames.stride".
    """
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    place, old, rest = found[1], found[2], found[3] or ""
    if old in DATA:
        return f"{key} is now {place}.{DATA[old]}{rest}"
    if old in ACTIONS:
        return (
            f"{key} is now part of {place}.actions, which says as a whole what is learned of the actions; for example "
            f"{ACTIONS[old]}"
        )
    return None


def require_current_keys(data: Any) -> None:
    """Raises ConfigError where a composed `data` has an old key: files may add keys that no override could.

    Args:
        data: of a dataset or a mixture, with or without its sources; anything else has none.
    """
    if not isinstance(data, Mapping):
        return
    sources = data.get("sources")
    named = sources if isinstance(sources, Mapping) else {}
    for place, part in {"data": data, **{f"data.sources.{name}": one for name, one in named.items()}}.items():
        for key in part if isinstance(part, Mapping) else ():
            said = renamed(f"{place}.{key}")
            if said is not None:
                raise ConfigError(said)
