"""One recorded episode in memory: what a collector hands over and what a dataset stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lara.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Episode:
    """T time steps; row t of every array belongs to the same instant, actions[t] is what was commanded there.

    images:  camera name -> (T, h, w, 3) uint8 RGB in [0, 255]; may be empty.
    state:   (T, S) float32, robot units, finite. S = 0 for video without a robot.
    actions: (T, A) float32, robot units, finite. A = 0 for video without a robot.
    task:    the instruction, not blank.
    info:    facts about the episode (success, goal, seed, ...): str, int, float or bool.

    Raises DataError when a shape, a dtype or a value is not as described.
    """

    images: Mapping[str, np.ndarray]
    state: np.ndarray
    actions: np.ndarray
    task: str
    info: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.task.strip():
            raise DataError("an episode's task is its instruction and must not be blank")
        for name, array in (("state", self.state), ("actions", self.actions)):
            _require_vectors(name, array)
        length = len(self.actions)
        if length == 0:
            raise DataError("an episode needs at least one time step, got none")
        if len(self.state) != length:
            raise DataError(f"an episode needs one state per action: got {len(self.state)} states, {length} actions")
        for camera, images in self.images.items():
            if not camera or "/" in camera:
                raise DataError(f"camera names are not empty and hold no '/', got {camera!r}")
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
                raise DataError(
                    f"camera '{camera}': expected (T, h, w, 3) uint8 images, got {images.shape} {images.dtype}"
                )
            if len(images) != length:
                raise DataError(f"camera '{camera}': expected {length} images (one per action), got {len(images)}")
        for key, value in self.info.items():
            if not isinstance(value, str | int | float | bool):
                raise DataError(f"info['{key}'] must be str, int, float or bool, got {type(value).__name__}")
            if isinstance(value, float) and not np.isfinite(value):
                raise DataError(f"info['{key}'] must be finite, got {value}")

    def __len__(self) -> int:
        return len(self.actions)


def _require_vectors(name: str, array: np.ndarray) -> None:
    if array.dtype != np.float32 or array.ndim != 2:
        raise DataError(f"{name}: expected a (T, dims) float32 array, got {array.shape} {array.dtype}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        frame, dim = bad[0]
        raise DataError(
            f"{name}: expected finite numbers, got {array[frame, dim]} at frame {frame}, dimension {dim} "
            f"({len(bad)} such numbers); drop the episode or mend the recorder"
        )
