"""One labelling job as plain data, and the worker that does a unit of it; the same for every engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.frames.resize import Fit, resize_area
from lara.label.dataset import open_for_labels

CHUNK = 64  # frames decoded at once


@dataclass(frozen=True, kw_only=True)
class Job:
    """lam: a run, checkpoint or exported folder; ema: which of its weights. dataset: a LeRobotDataset or a folder of
    videos. camera, size (pixels), fit: the frames that the model sees. gap: in frames. plan: the hash of it all.
    units: (first, one past the last) episode of each unit of work. folder: where units are written. threads: of torch.
    """

    lam: str
    ema: bool
    dataset: str
    camera: str
    size: int
    fit: Fit
    gap: int
    prefix: str
    batch_size: int
    precision: str
    device: str
    threads: int
    plan: str
    units: tuple[tuple[int, int], ...]
    folder: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Worker:
    """Opens model and data once, then labels units one after the other."""

    def __init__(self, job: Job, number: int = 0) -> None:
        import torch

        from lara.serve.load import load_lam

        torch.set_num_threads(job.threads)
        device = job.device
        if device == "cuda":  # several workers of one machine spread over its GPUs
            device = f"cuda:{number % max(torch.cuda.device_count(), 1)}"
        self.job = job
        self.lam = load_lam(job.lam, ema=job.ema)[0].to(device)
        self.source = open_for_labels(job.dataset)

    def run(self, unit: int) -> dict[str, int]:
        """Labels one unit and writes its file, whole or not at all; returns its counts. Doing it twice does no harm."""
        from lara.label.encode import label_frames
        from lara.label.shard import write_unit

        job = self.job
        episodes = range(*job.units[unit])
        lengths = [self.source.episodes[k].length for k in episodes]
        decoded = [0]
        labels = label_frames(
            self.lam,
            self._frames(episodes, decoded),
            lengths,
            gap=job.gap,
            batch_size=job.batch_size,
            precision=job.precision,
        )
        counts = {
            "unit": unit,
            "frames": sum(lengths),
            "decoded": decoded[0],
            "encoded": labels.encoded,
            "pairs": int(labels.mask_N.sum()),
        }
        write_unit(Path(job.folder), job.prefix, job.plan, labels, self.lam, counts)
        return counts

    def _frames(self, episodes: range, decoded: list[int]) -> Iterator[np.ndarray]:
        for k in episodes:
            length = self.source.episodes[k].length
            for begin in range(0, length, CHUNK):
                images = self.source.frames(k, self.job.camera, np.arange(begin, min(begin + CHUNK, length)))
                decoded[0] += len(images)
                yield resize_area(images, self.job.size, fit=self.job.fit)
