"""What a person says of a conversion, as the arguments that it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lara.data.convert.robosuite import convert
from lara.data.frames.encode import ImageStorage, VideoStorage
from lara.errors import ConfigError


def convert_said(path: Path, output: Path, said: Mapping[str, str]) -> list[str]:
    """Converts; said: images, storage, fps, task, state, each or none. Raises ConfigError for what is no rate."""
    fps = said.get("fps", "")
    if re.fullmatch(r"([1-9]\d{0,3}(\.\d{1,6})?)?", fps, re.ASCII) is None:
        raise ConfigError(f"fps should be a number of frames per second, such as 20 or 29.97; got '{fps}'")
    names = said["state"].strip("[]").split(",") if "state" in said else None
    return convert(
        path,
        output,
        storage=_storage(said.get("storage", "av1")),
        images=cast(Any, said.get("images")),
        fps=float(fps) if fps else None,
        task=said.get("task"),
        state=None if names is None else [name.strip() for name in names],
    )


def _storage(said: str) -> VideoStorage | ImageStorage:
    if said == "png":
        return ImageStorage()
    return VideoStorage(codec="h264" if said == "h264" else "libsvtav1")
