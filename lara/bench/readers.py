"""Other people's way to the same frames, as `lara bench loader` compares with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.frames.torchcodec import require_torchcodec
from lara.data.sources.source import Source
from lara.errors import DataError


class TorchCodecRule:
    """LeRobot's rule to read a frame with torchcodec, stated again over torchcodec itself.

    A decoder per file with approximate seeking, kept for ever; the frame number is the time times the file's average
    rate; the frames as float32 in [0, 1], (n, 3, h, w), at full size. Rows of the table and the resize, which LeRobot's
    users also pay for, are left out: the comparison is in its favour. For datasets with a file per episode.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._files = {camera: source.files(camera) for camera in source.cameras}
        self._make = require_torchcodec()
        self._decoders: dict[Path, Any] = {}

    def read(self, episode: int, camera: str, indices: Sequence[int]) -> Any:
        """(n, 3, h, w) float32 torch tensor."""
        path = self._files[camera][episode]
        if path not in self._decoders:
            self._decoders[path] = self._make(str(path), seek_mode="approximate")
        decoder = self._decoders[path]
        times = np.asarray(indices) / self._source.fps
        numbers = [round(time * decoder.metadata.average_fps) for time in times.tolist()]
        frames = decoder.get_frames_at(indices=numbers)
        if np.abs(frames.pts_seconds.numpy() - times).max() > 1e-4:
            raise DataError(f"{path}: torchcodec gave frames at {frames.pts_seconds}, asked for {times}")
        return frames.data.float() / 255.0


class LeRobotItself:
    """LeRobotDataset, where it is installed: a whole sample, as its users get it."""

    def __init__(self, root: Path) -> None:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        self._dataset = LeRobotDataset("lara/bench", root=root, video_backend="torchcodec")

    def read(self, number: int) -> Any:
        """The sample of one frame of the dataset."""
        return self._dataset[number]


def has_lerobot() -> bool:
    """Whether `LeRobotItself` can be made here."""
    from importlib.util import find_spec

    return find_spec("lerobot") is not None
