"""Frame caches built ahead of training, for every camera and size that will be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from lara.data.frames.cache import is_built, open_or_build
from lara.data.frames.resize import Fit
from lara.data.sources.auto import AnyFormat
from lara.data.sources.hub import resolve_root
from lara.errors import ConfigError, nearest


def build_caches(
    root: Path | str,
    *,
    sizes: Sequence[int],
    cameras: Sequence[str] | None,
    fit: str,
    folder: Path | None,
    workers: int,
) -> list[Path]:
    """The folders of the caches, each built if it is not there yet, and a line about each.

    Raises ConfigError for a camera or fit that there is not, DataError for frames that do not decode.
    """
    if fit not in get_args(Fit):
        raise ConfigError(f"there is no fit '{fit}'. {nearest(fit, get_args(Fit))}")
    source = AnyFormat().open(resolve_root(root))
    for camera in cameras or ():
        if camera not in source.cameras:
            raise ConfigError(f"{root}: no camera '{camera}'. {nearest(camera, source.cameras)}")
    folders = []
    for camera in cameras or source.cameras:
        for size in sizes:
            how = cast(Fit, fit)
            there = is_built(source, camera, size, fit=how, folder=folder)
            cache = open_or_build(source, camera, size, fit=how, folder=folder, workers=workers)
            gigabytes = len(cache) * size * size * 3 / 1e9
            since = "was" if there else "now"
            print(f"{camera}, {size} px: {len(cache)} frames, {gigabytes:.2f} GB, {since} in {cache.folder}")
            folders.append(cache.folder)
    return folders
