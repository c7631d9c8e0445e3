"""A LeRobotDataset v3.0 in use: its episodes, numbers and exact frames."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lara.data.frames.decode import PyAVReader, VideoReader
from lara.data.robot import RobotCard
from lara.data.sources.lerobot import paths
from lara.errors import ConfigError, DataError, nearest
from lara.faults import refused
from lara.specs import ActionSpec, Control, Gripper, ObservationSpec, Rotation

_OPEN_TABLES = 4


@dataclass(frozen=True, kw_only=True)
class EpisodeRow:
    """Where one episode lies. Its frames are rows `first_row` ... of `data`; begins[camera] is the time in seconds of
    its first frame in videos[camera]. `start` is its first frame's number in the whole dataset."""

    index: int
    length: int
    start: int
    tasks: tuple[str, ...]
    data: Path
    first_row: int
    videos: Mapping[str, Path]
    begins: Mapping[str, float]
    info: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True)
class EpisodeArrays:
    """T rows: state (T, S), actions (T, A), timestamp (T,) seconds from the episode's start, and bookkeeping (T,)."""

    state: np.ndarray
    actions: np.ndarray
    timestamp: np.ndarray
    frame_index: np.ndarray
    episode_index: np.ndarray
    index: np.ndarray
    task_index: np.ndarray


class LeRobotSource:
    """Made by `open_dataset`. Reads lazily, keeps a few tables and video files open, survives fork and pickle.

    cameras: names in the order of info.json. shapes: camera -> (h, w, 3). stored: camera -> "video" | "image".
    tasks: instruction of each task index. robot: the card of meta/lara.json, None for datasets of other makers (see
    `robot_card`).
    """

    def __init__(
        self,
        *,
        root: Path,
        info: Mapping[str, Any],
        tasks: tuple[str, ...],
        episodes: tuple[EpisodeRow, ...],
        robot: RobotCard | None,
        reader: VideoReader | None = None,
    ) -> None:
        self.root = root
        self.info = info
        self.fps = float(info["fps"])
        self.tasks = tasks
        self.episodes = episodes
        self.robot = robot
        self.reader: VideoReader = PyAVReader() if reader is None else reader
        features = info["features"]
        self.keys = {paths.camera_name(k): k for k, f in features.items() if f["dtype"] in ("video", "image")}
        self.cameras = tuple(self.keys)
        self.stored = {camera: features[key]["dtype"] for camera, key in self.keys.items()}
        self.shapes = {camera: _height_width_channels(root, features[key]) for camera, key in self.keys.items()}
        self.state_dim = _dim(features, paths.STATE)
        self.action_dim = _dim(features, paths.ACTION)
        self._tables: OrderedDict[Path, dict[str, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def frame_count(self) -> int:
        """Frames of all episodes."""
        return sum(episode.length for episode in self.episodes)

    def robot_card(self, *, control: Control, rotation: Rotation, gripper: Gripper) -> RobotCard:
        """A card for a dataset without one: names from info.json, limits from the recorded minima and maxima.

        What a number means (delta or absolute, which rotation, the gripper's sign) is written nowhere in a
        LeRobotDataset, so the caller must say it. Raises DataError when info.json names no dimensions.
        """
        vectors = [self.arrays(episode.index).actions for episode in self.episodes]
        actions = np.concatenate(vectors) if vectors else np.zeros((0, self.action_dim), np.float32)
        return RobotCard(
            name=str(self.info.get("robot_type") or "unknown"),
            action=ActionSpec(
                names=self._names(paths.ACTION, self.action_dim),
                control=control,
                rotation=rotation,
                gripper=gripper,
                low=tuple(actions.min(0).tolist()),
                high=tuple(actions.max(0).tolist()),
                rate_hz=self.fps,
            ),
            observation=ObservationSpec(cameras=self.cameras, state=self._names(paths.STATE, self.state_dim)),
        )

    def arrays(self, episode: int) -> EpisodeArrays:
        """The numbers of one episode. Raises DataError when its table is missing, unreadable or too short."""
        row = self._row(episode)
        table = self._table(row.data)
        end = row.first_row + row.length
        if len(table["index"]) < end:
            raise DataError(
                f"{row.data}: episode {episode} needs rows {row.first_row}..{end - 1}, "
                f"the file has {len(table['index'])}; it is cut short, copy it again"
            )
        return EpisodeArrays(**{name: column[row.first_row : end] for name, column in table.items()})

    def frames(self, episode: int, camera: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) frame numbers within the episode, any order -> (n, h, w, 3) uint8 RGB. Exact, or DataError."""
        row = self._row(episode)
        self._require_camera(camera)
        wanted = np.asarray(indices, np.int64)
        if wanted.ndim != 1 or len(wanted) == 0 or wanted.min() < 0 or wanted.max() >= row.length:
            raise DataError(
                f"{self.root}: episode {episode} has frames 0..{row.length - 1}, asked for {wanted.tolist()[:8]}"
            )
        try:
            if self.stored[camera] == "video":
                times = row.begins[camera] + wanted / self.fps
                images = self.reader.frames(row.videos[camera], times, tolerance=0.25 / self.fps)
            else:
                images = self._images(row, camera, wanted)
        except DataError as error:
            raise DataError(f"episode {episode}, camera '{camera}', frames {_brief(wanted)}: {error}") from error
        if images.shape[1:] != self.shapes[camera]:
            raise DataError(
                f"{self.root}: episode {episode}, camera '{camera}': info.json promises {self.shapes[camera]} images, "
                f"found {images.shape[1:]}"
            )
        return images

    def tables(self) -> dict[Path, int]:
        """The files that hold the numbers, and how many rows each should have."""
        rows: dict[Path, int] = {}
        for row in self.episodes:
            rows[row.data] = rows.get(row.data, 0) + row.length
        return rows

    def first_time(self, path: Path) -> float:
        """Seconds, on the clock of `EpisodeRow.begins`, of the first frame of a video file: v3.0 counts from it."""
        return 0.0

    def files(self, camera: str) -> tuple[Path, ...]:
        """The files that hold the camera's pixels, in order of first use."""
        self._require_camera(camera)
        video = self.stored[camera] == "video"
        return tuple(dict.fromkeys(row.videos[camera] if video else row.data for row in self.episodes))

    def _require_camera(self, camera: str) -> None:
        if camera not in self.keys:
            raise ConfigError(f"{self.root}: no camera '{camera}'. {nearest(camera, self.cameras)}")

    def _row(self, episode: int) -> EpisodeRow:
        if not 0 <= episode < len(self.episodes):
            raise DataError(f"{self.root}: has episodes 0..{len(self.episodes) - 1}, asked for {episode}")
        return self.episodes[episode]

    def _names(self, key: str, dim: int) -> tuple[str, ...]:
        if dim == 0:
            return ()
        names = self.info["features"][key].get("names")
        if isinstance(names, dict):  # some recorders write {"motors": [...]}
            names = [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
        if not isinstance(names, list) or len(names) != dim:
            raise DataError(f"{self.root}: info.json gives no {dim} names for '{key}'; build the RobotCard by hand")
        return tuple(str(name) for name in names)

    def _table(self, path: Path) -> dict[str, np.ndarray]:
        if path in self._tables:
            self._tables.move_to_end(path)
            return self._tables[path]
        scalars = {name: name for name in ("timestamp", "frame_index", "episode_index", "index", "task_index")}
        vectors = {paths.STATE: ("state", self.state_dim), paths.ACTION: ("actions", self.action_dim)}
        wanted = [*scalars, *(key for key, (_, dim) in vectors.items() if dim)]
        table = read_parquet(path, wanted)
        out = {name: table[name].to_numpy() for name in scalars}
        for key, (name, dim) in vectors.items():
            out[name] = _vectors(path, key, table[key], dim) if dim else np.zeros((len(table), 0), np.float32)
        self._tables[path] = out
        while len(self._tables) > _OPEN_TABLES:
            self._tables.popitem(last=False)
        return out

    def _images(self, row: EpisodeRow, camera: str, wanted: np.ndarray) -> np.ndarray:
        """Decode PNGs, reading only the row groups that hold them."""
        key = self.keys[camera]
        numbers = row.first_row + wanted
        unique, place = np.unique(numbers, return_inverse=True)
        with _opened(row.data) as file:
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
            begins = np.concatenate([[0], np.cumsum(sizes)])
            if unique[-1] >= begins[-1]:
                raise DataError(f"{row.data}: has {begins[-1]} rows, row {unique[-1]} was asked for; it is cut short")
            decoded = []
            group_of = np.searchsorted(begins, unique, side="right") - 1
            for group in np.unique(group_of):
                try:
                    column = file.read_row_group(int(group), columns=[key])[key]
                except (pa.ArrowInvalid, OSError) as error:
                    raise DataError(f"{row.data}: row group {group} is damaged ({error}); copy the file") from error
                for number in unique[group_of == group]:
                    decoded.append(_decode_image(row.data, int(number), column[int(number - begins[group])].as_py()))
        return np.stack(decoded)[place]


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Some columns of one file, or DataError naming the file and what is wrong with it."""
    with _opened(path) as file:
        missing = set(columns or ()) - set(file.schema_arrow.names)
        if missing:
            raise DataError(f"{path}: columns {sorted(missing)} are missing; it has {file.schema_arrow.names}")
        try:
            return file.read(columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path}: damaged parquet ({error}); copy the file again") from error


def _opened(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise DataError(f"{path}: expected a parquet file, found nothing; copy it from the source of the dataset")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        if (known := refused(error)) is not None:
            raise known from error
        raise DataError(f"{path}: not a readable parquet file ({error}); it is damaged, copy it again") from error


def _vectors(path: Path, key: str, column: pa.ChunkedArray, dim: int) -> np.ndarray:
    if column.null_count:
        raise DataError(f"{path}: column '{key}' has {column.null_count} empty rows")
    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        flat = column.to_numpy()
    else:
        flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks] or [[]])
    if len(flat) != len(column) * dim:
        raise DataError(
            f"{path}: column '{key}' should hold {dim} numbers per row, it holds {len(flat)} in {len(column)}"
        )
    return np.ascontiguousarray(flat, dtype=np.float32).reshape(-1, dim)


def _decode_image(path: Path, row: int, struct: dict[str, Any] | None) -> np.ndarray:
    data = (struct or {}).get("bytes")
    if not data:
        raise DataError(f"{path}: row {row} holds no image bytes; write the dataset with embedded images")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: row {row} holds a damaged image ({error})") from error


def _dim(features: Mapping[str, Any], key: str) -> int:
    return int(features[key]["shape"][0]) if key in features else 0


def _height_width_channels(root: Path, feature: Mapping[str, Any]) -> tuple[int, int, int]:
    shape, names = tuple(int(n) for n in feature["shape"]), list(feature.get("names") or ())
    if len(shape) != 3:
        raise DataError(f"{root}: info.json gives an image feature the shape {shape}, expected three numbers")
    if names[:1] in (["channels"], ["channel"]):
        return shape[1], shape[2], shape[0]
    return shape


def _brief(numbers: np.ndarray) -> str:
    return str(numbers.tolist()) if len(numbers) <= 4 else f"{numbers.min()}..{numbers.max()}"
