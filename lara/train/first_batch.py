"""Look at the data before the first step: shapes, words and camera images of the first batch, on disk."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from lara.errors import DataError
from lara.store.files import replace_file
from lara.store.records import to_json
from lara.types import Batch

_log = logging.getLogger("lara.train")


def show_first_batch(batch: Batch, output: Path, *, samples: int = 4) -> None:
    """Writes <output>/first_batch/: batch.json (shapes, dtypes, ranges, instructions) and a PNG of every camera of the
    first few samples. Raises DataError when an image is not uint8 with 3 channels.
    """
    folder = output / "first_batch"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**_tensors(batch.observation, "observation."), **_tensors(batch, "")}
    about = {name: _about(value) for name, value in tensors.items()}
    shown = {"index_B": batch.index_B.tolist()[:samples], "instruction": list(batch.observation.instruction[:samples])}
    replace_file(folder / "batch.json", to_json({"tensors": about, "first_samples": shown}))
    _log.info("the first batch is in %s, to be looked at", folder)
    for b in range(min(samples, len(batch))):
        for v, image in enumerate(batch.observation.images_BVCHW[b]):
            _save(image, folder / f"sample{b}-camera{v}.png")
        for f, views in enumerate(batch.frames_BFVCHW[b]):
            for v, image in enumerate(views):
                _save(image, folder / f"sample{b}-frame{f}-camera{v}.png")


def _tensors(record: Any, prefix: str) -> dict[str, Tensor]:
    values = {f"{prefix}{f.name}": getattr(record, f.name) for f in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _about(value: Tensor) -> dict[str, Any]:
    about: dict[str, Any] = {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    if value.numel():
        numbers = value.double()
        about |= {"min": numbers.min().item(), "max": numbers.max().item(), "mean": numbers.mean().item()}
    return about


def _save(image_CHW: Tensor, path: Path) -> None:
    if image_CHW.dtype.is_floating_point or image_CHW.element_size() != 1 or image_CHW.shape[0] != 3:
        raise DataError(
            f"images travel as uint8 with 3 channels first; got {image_CHW.dtype} {tuple(image_CHW.shape)}. "
            "Return the decoded frames unchanged; the model normalises them."
        )
    Image.fromarray(image_CHW.permute(1, 2, 0).contiguous().cpu().numpy()).save(path)
