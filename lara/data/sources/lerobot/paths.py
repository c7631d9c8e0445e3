"""Names and shapes of the LeRobotDataset v3.0 layout, as lerobot 0.4.4 reads and writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from lara.errors import DataError

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO, STATS, TASKS, LARA = "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/lara.json"

ACTION, STATE = "action", "observation.state"
CAMERA_PREFIX = "observation.images."
DEFAULT_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})

_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")


def chunk_and_file(number: int) -> tuple[int, int]:
    """The `number`-th file (0, 1, ...) as (chunk_index, file_index)."""
    return divmod(number, FILES_PER_CHUNK)


def fill_path(root: Path, template: str, values: Mapping[str, int | str]) -> Path:
    """A path template of info.json filled in. Raises DataError for unknown fields and for paths that leave `root`."""

    def value(match: re.Match[str]) -> str:
        name, width = match.groups()
        if name not in values:
            raise DataError(f"{root}: path template '{template}' uses '{name}', known are {sorted(values)}")
        return str(values[name]).zfill(int(width or 0))

    relative = PurePosixPath(_FIELD.sub(value, template))
    if relative.is_absolute() or ".." in relative.parts or "{" in str(relative):
        raise DataError(
            f"{root}: path template '{template}' gives '{relative}', which is not a path inside the dataset"
        )
    return root / relative


def camera_name(feature: str) -> str:
    """`observation.images.top` -> `top`; other features keep the part after `observation.`."""
    return feature.removeprefix(CAMERA_PREFIX).removeprefix("observation.")


def vector_type(dim: int) -> pa.DataType:
    """lerobot stores vectors as fixed-size lists and single numbers as plain columns."""
    return pa.float32() if dim == 1 else pa.list_(pa.float32(), dim)


def data_schema(*, state_dim: int, action_dim: int, image_features: list[str]) -> pa.Schema:
    """Columns of data/*.parquet. Vectors of no dimensions and videos have no column."""
    fields = [pa.field(feature, IMAGE_TYPE) for feature in image_features]
    if state_dim:
        fields.append(pa.field(STATE, vector_type(state_dim)))
    if action_dim:
        fields.append(pa.field(ACTION, vector_type(action_dim)))
    fields.append(pa.field("timestamp", pa.float32()))
    fields += [pa.field(name, pa.int64()) for name in ("frame_index", "episode_index", "index", "task_index")]
    return pa.schema(fields)
