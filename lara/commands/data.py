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

from lara.commands.forms import read_form, whole_numbers

CONFIG = ""
FORMS = {
    "cache": "root=FOLDER size=PIXELS[,PIXELS] [fit=square|pad|crop|stretch] [folder=FOLDER] [workers=N] "
    "[cameras=NAME,NAME]"
}


def main(arguments: Sequence[str]) -> int:
    from lara.data.ahead import build_caches

    _, given = read_form("lara data", FORMS, arguments)
    (workers,) = whole_numbers("workers", given.get("workers", str(os.cpu_count() or 1)))
    build_caches(
        given["root"],
        sizes=whole_numbers("size", given["size"]),
        cameras=given["cameras"].split(",") if "cameras" in given else None,
        fit=given.get("fit", "pad"),
        folder=Path(given["folder"]) if "folder" in given else None,
        workers=workers,
    )
    return 0
