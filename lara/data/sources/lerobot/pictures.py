"""Frames that stand in the data file as PNG or JPEG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lara.data.sources.lerobot.tables import DAMAGE, opened
from lara.errors import DataError

# eight bits per channel; everything else would be clipped to 255 on its way to RGB
_PLAIN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class DeepPictureError(DataError):
    """A picture of more than eight bits per channel."""


def look_at_first(path: Path, key: str) -> None:
    """Reads the first picture of a data file, and no more than that. Raises DataError when it cannot be read as RGB."""
    with opened(path) as file:
        try:
            batch = next(file.iter_batches(batch_size=1, columns=[key]), None)
            found = None if batch is None or not len(batch) else batch.column(0)[0].as_py()
        except DAMAGE as error:
            raise DataError(f"{path}: its first row group is damaged ({error}); copy the file") from error
    if found is not None:
        _decoded(path, 0, found)


def read_pictures(path: Path, key: str, rows: np.ndarray) -> np.ndarray:
    """(n,) rows of a data file, any order -> (n, h, w, 3) uint8, reading only the row groups that hold them.

    Raises DataError for pictures that are damaged, missing, or not of eight bits per channel.
    """
    unique, place = np.unique(rows, return_inverse=True)
    with opened(path) as file:
        if key not in file.schema_arrow.names:
            raise DataError(f"{path}: columns ['{key}'] are missing; it has {file.schema_arrow.names}")
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
        begins = np.concatenate([[0], np.cumsum(sizes)])
        if unique[-1] >= begins[-1]:
            raise DataError(f"{path}: has {begins[-1]} rows, row {unique[-1]} was asked for; it is cut short")
        decoded = []
        group_of = np.searchsorted(begins, unique, side="right") - 1
        for group in np.unique(group_of):
            try:
                column = file.read_row_group(int(group), columns=[key])[key]
                found = [column[int(number - begins[group])].as_py() for number in unique[group_of == group]]
            except DAMAGE as error:
                raise DataError(f"{path}: row group {group} is damaged ({error}); copy the file") from error
            for number, one in zip(unique[group_of == group], found, strict=True):
                decoded.append(_decoded(path, int(number), one))
    shapes = {image.shape for image in decoded}
    if len(shapes) > 1:
        raise DataError(f"{path}: the pictures of '{key}' have different sizes: {sorted(shapes)}")
    return np.stack(decoded)[place]


def _decoded(path: Path, row: int, found: Any) -> np.ndarray:
    data = found.get("bytes") if isinstance(found, dict) else found
    if not isinstance(data, bytes) or not data:
        raise DataError(f"{path}: row {row} holds no image bytes; write the dataset with embedded images")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as image:
            mode = image.mode
            if mode in _PLAIN:
                return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: row {row} holds a damaged image ({error})") from error
    raise DeepPictureError(
        f"{path}: row {row} holds an image of more than 8 bits per channel (mode {mode}), as depth cameras record it, "
        "and its values would be clipped; leave the camera out, or write it again as 8 bit RGB"
    )
