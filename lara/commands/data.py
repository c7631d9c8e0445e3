"""What can be done with a dataset before training. The first word says what:

  lara data cache root=outputs/demo/data size=224
  lara data cache root=my/videos size=224,64 fit=pad folder=/shared/frames workers=8 cameras=top,wrist

cache: decodes and resizes every frame of the cameras (all, if none are named), so that training reads them at once.
Interrupted, the same command goes on where it was. Runs find the cache by the content of the files: where data.root,
data.image_size, data.image_fit and the cache's folder say the same, on any machine that sees the folder.

size: data.image_size and, where it differs, data.lam.image_size. fit: data.image_fit: pad, crop, stretch or square.
folder: <root>/.lara-cache by default. workers: processes, all processors by default.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

CONFIG = ""

_FORM = "root=FOLDER size=PIXELS[,PIXELS] [fit=pad] [folder=FOLDER] [workers=N] [cameras=NAME,NAME]"
_KEYS = {"root", "size", "fit", "folder", "workers", "cameras"}


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError

    words = [argument for argument in arguments if "=" not in argument]
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if words != ["cache"] or set(given) - _KEYS or not {"root", "size"} <= set(given):
        raise ConfigError(f"expected: lara data cache {_FORM}; got {' '.join(arguments) or '(nothing)'}")
    sizes, workers = given["size"].split(","), given.get("workers", str(os.cpu_count() or 1))
    if not all(number.isdecimal() and int(number) > 0 for number in (*sizes, workers)):
        raise ConfigError(f"size and workers should be whole numbers from 1 on, got '{given['size']}' and '{workers}'")
    build_caches(
        Path(given["root"]),
        sizes=[int(size) for size in sizes],
        cameras=given["cameras"].split(",") if "cameras" in given else None,
        fit=given.get("fit", "pad"),
        folder=Path(given["folder"]) if "folder" in given else None,
        workers=int(workers),
    )
    return 0


def build_caches(
    root: Path, *, sizes: Sequence[int], cameras: Sequence[str] | None, fit: str, folder: Path | None, workers: int
) -> list[Path]:
    """The folders of the caches, each built if it is not there yet, and a line about each.

    Raises ConfigError for a camera or fit that there is not, DataError for frames that do not decode.
    """
    from typing import cast, get_args

    from lara.data.frames.cache import is_built, open_or_build
    from lara.data.frames.resize import Fit
    from lara.data.sources.auto import AnyFormat
    from lara.errors import ConfigError, nearest

    if fit not in get_args(Fit):
        raise ConfigError(f"there is no fit '{fit}'. {nearest(fit, get_args(Fit))}")
    source = AnyFormat().open(root)
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
