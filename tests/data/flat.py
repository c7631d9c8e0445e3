"""Datasets from flat settings: tests say what matters to them, and this puts it where the constructor wants it."""

from __future__ import annotations

from typing import Any

from lara.config.build import build
from lara.data.dataset import Dataset

_GROUPS = {
    "lam": (
        "lara.data.lam_inputs.inputs.LamInput",
        {
            "lam_cameras": "cameras",
            "lam_image_size": "image_size",
            "frame_gap": "gap",
            "frames": "frames",
            "latents": "latents",
            "codes": "codes",
            "stride_seconds": "stride_seconds",
        },
    ),
    "cache": ("lara.data.frames.caching.Caching", {"cache_folder": "folder", "cache_workers": "workers"}),
    "split": (
        "lara.data.split.Split",
        {"validation_fraction": "validation_fraction", "max_episodes_per_task": "max_episodes_per_task"},
    ),
    "augment": (
        "lara.data.augment.augmentation.Augmentation",
        {"random_shift": "random_shift", "color_jitter": "color_jitter"},
    ),
}


def config(*, cache: bool = True, **settings: Any) -> dict[str, Any]:
    """The configuration of a dataset; values may be objects already."""
    out: dict[str, Any] = {"_target_": "lara.data.dataset.Dataset"}
    for group, (target, keys) in _GROUPS.items():
        inner = {new: settings.pop(old) for old, new in keys.items() if old in settings}
        if group == "cache":
            inner = {"workers": 0, **inner}
        out[group] = {"_target_": target, **inner} if group != "cache" or cache else None
    return {**out, **settings}


def dataset(**settings: Any) -> Dataset:
    """The dataset itself."""
    plain = config(**settings)
    made = {
        key: _made(value) if isinstance(value, dict) and "_target_" in value else value for key, value in plain.items()
    }
    made.pop("_target_")
    return Dataset(**made)


def _made(part: dict[str, Any]) -> Any:
    """Objects inside are taken as they are, which a configuration from disk could not hold."""
    objects = {
        key: value for key, value in part.items() if not isinstance(value, str | int | float | list | tuple | dict)
    }
    return build({key: value for key, value in part.items() if key not in objects}, "data", **objects)
