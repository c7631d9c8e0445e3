"""One episode, encoded and whole, in its own folder: what parallel collectors write and `assemble` reads."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lara.data.episode import Episode
from lara.data.frames.encode import ImageStorage, VideoStorage, encode_video
from lara.data.sources.lerobot.paths import IMAGE_TYPE
from lara.data.sources.lerobot.stats import pixel_histogram
from lara.errors import DataError
from lara.store.files import whole_folder
from lara.store.records import read_json, write_json

_FORMAT = 1
_KEYS = {"format", "length", "fps", "task", "info", "cameras", "state_dim", "action_dim", "storage", "files"}


@dataclass(frozen=True, kw_only=True)
class StagedEpisode:
    """What a staged folder holds: `length` steps at `fps`; cameras name -> (h, w, 3); storage as it was asked for."""

    folder: Path
    length: int
    fps: float
    task: str
    info: Mapping[str, str | int | float | bool]
    cameras: Mapping[str, tuple[int, int, int]]
    state_dim: int
    action_dim: int
    storage: Mapping[str, Any]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """state (T, S) and actions (T, A), float32."""
        with np.load(self.folder / "arrays.npz", allow_pickle=False) as arrays:
            return arrays["state"], arrays["actions"]

    def pixel_histogram(self, camera: str) -> np.ndarray:
        """(3, 256) counts of the pixel values that the camera recorded."""
        with np.load(self.folder / "arrays.npz", allow_pickle=False) as arrays:
            counts: np.ndarray = arrays[f"histogram.{camera}"]
            return counts

    def video(self, camera: str) -> Path:
        """Its mp4 (VideoStorage)."""
        return self.folder / f"{camera}.mp4"

    def images(self, camera: str) -> pa.Array:
        """Its frames as PNG structs (ImageStorage)."""
        return pq.read_table(self.folder / f"{camera}.parquet")["image"].combine_chunks()


def storage_to_dict(storage: VideoStorage | ImageStorage) -> dict[str, Any]:
    """JSON-ready description, by which episodes of one dataset are compared."""
    return {"kind": "video" if isinstance(storage, VideoStorage) else "image", **asdict(storage)}


def stage_episode(folder: Path, episode: Episode, *, fps: float, storage: VideoStorage | ImageStorage) -> None:
    """Encode `episode` into the new folder `folder`: whole or absent, whatever happens to the process meanwhile.

    Raises StoreError when the folder exists, DataError when images cannot be stored as asked (odd sizes in yuv420p
    video).
    """
    with whole_folder(Path(folder)) as temporary:
        for camera, images in episode.images.items():
            if isinstance(storage, VideoStorage):
                encode_video(temporary / f"{camera}.mp4", images, fps=fps, storage=storage)
            else:
                structs = [{"bytes": _png(image, storage.compress_level), "path": None} for image in images]
                table = pa.table({"image": pa.array(structs, IMAGE_TYPE)})
                pq.write_table(table, temporary / f"{camera}.parquet", compression="none")
        arrays: dict[str, Any] = {"state": episode.state, "actions": episode.actions}
        arrays |= {f"histogram.{camera}": pixel_histogram(images) for camera, images in episode.images.items()}
        np.savez(temporary / "arrays.npz", **arrays)
        write_json(
            temporary / "episode.json",
            {
                "format": _FORMAT,
                "length": len(episode),
                "fps": float(fps),
                "task": episode.task,
                "info": dict(episode.info),
                "cameras": {camera: list(images.shape[1:]) for camera, images in episode.images.items()},
                "state_dim": episode.state.shape[1],
                "action_dim": episode.actions.shape[1],
                "storage": storage_to_dict(storage),
                "files": {path.name: path.stat().st_size for path in sorted(temporary.iterdir())},
            },
        )


def read_staged(folder: Path) -> StagedEpisode:
    """The description of a staged episode. Raises DataError when it is absent or files are missing or cut short."""
    folder = Path(folder)
    data = read_json(folder / "episode.json", DataError)
    if not isinstance(data, dict) or set(data) != _KEYS or data["format"] != _FORMAT:
        raise DataError(f"{folder}/episode.json: not a staged episode of format {_FORMAT}; stage the episode again")
    for name, size in data["files"].items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            raise DataError(f"{path}: expected {size} bytes, found {found}; delete the folder and stage it again")
    fields = {key: data[key] for key in _KEYS - {"format", "files", "cameras"}}
    cameras = {camera: (int(h), int(w), int(c)) for camera, (h, w, c) in data["cameras"].items()}
    return StagedEpisode(folder=folder, cameras=cameras, **fields)


def _png(image: np.ndarray, compress_level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=compress_level)
    return buffer.getvalue()
