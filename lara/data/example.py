"""A batch of the shapes that a data configuration would give, without opening anything: what `lara show` traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lara.config.build import build
from lara.data.configuration import spread
from lara.errors import ConfigError
from lara.types import Batch, Observation


def example_batch(data: Mapping[str, Any], n: int) -> Batch:
    """n samples. Images are real zeros (a processor may want to read them), everything else lives on the meta device.

    Args:
        data: a resolved data configuration; of a mixture, the widest source counts.
        n: samples.
    """
    data = spread(data)
    parts = list(data["sources"].values()) if "sources" in data else [data]
    first = parts[0]
    views = max(_views(part["cameras"]) for part in parts)
    horizon, action, state = first["horizon"], first["action_dim_max"], first["state_dim_max"]
    size, lam = first["image_size"], first.get("lam") or {}
    lam_cameras = lam.get("cameras", ())
    lam_views = views if lam_cameras is None else len(lam_cameras)
    lam_size = lam.get("image_size") or size
    count = (build(lam["frames"], "data").count if lam.get("frames") else 2) if lam_views else 0
    latents = build(lam["latents"], "data") if lam.get("latents") else None
    meta: dict[str, Any] = {"device": "meta"}
    return Batch(
        observation=Observation(
            images_BVCHW=torch.zeros(n, views, 3, size, size, dtype=torch.uint8),
            state_BS=torch.zeros(n, state, **meta),
            instruction=("pick up the red block and put it on the plate",) * n,
            embodiment_B=torch.zeros(n, dtype=torch.long, **meta),
            action_dims_BA=torch.ones(n, action, dtype=torch.bool, **meta),
        ),
        actions_BHA=torch.zeros(n, horizon, action, **meta),
        action_mask_BHA=torch.ones(n, horizon, action, dtype=torch.bool, **meta),
        frames_BFVCHW=torch.zeros(n, count, lam_views, 3, lam_size, lam_size, dtype=torch.uint8, **meta),
        frame_mask_BF=torch.ones(n, count, dtype=torch.bool, **meta),
        index_B=torch.zeros(n, dtype=torch.long, **meta),
        codes_BT=torch.zeros(n, build(lam["codes"], "data").tokens, dtype=torch.long, **meta)
        if lam.get("codes")
        else None,
        latents_BTVD=torch.zeros(n, *latents.shape, **meta) if latents else None,
        latent_mask_BT=torch.zeros(n, latents.steps, dtype=torch.bool, **meta) if latents else None,
    )


def without_lam_frames(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same data for a policy alone."""
    data = spread(data)
    if "sources" in data:
        return {**data, "sources": {name: without_lam_frames(part) for name, part in data["sources"].items()}}
    return {**data, "lam": None}


def frames_alone(data: Mapping[str, Any]) -> dict[str, Any]:
    """The frames that a LAM was trained on, by a configuration that may be a stranger's: no other folder is followed
    than the data's own, so no labels are read and no cache is written where it says. Raises ConfigError for a mixture.
    """
    if "sources" in data:
        raise ConfigError("a mixture has many datasets; say data_of=<a run on one of them>")
    lam, cache = data.get("lam"), data.get("cache")
    out = {**data, "cameras": [], "actions": None}
    if lam is not None:
        cameras = data["cameras"] or None if lam.get("cameras", ()) is None else lam.get("cameras", ())
        out["lam"] = {**lam, "cameras": cameras, "codes": None, "latents": None}
    if cache is not None:
        out["cache"] = {**cache, "folder": None}
    return out


def _views(cameras: list[str] | None) -> int:
    """A dataset's own cameras are counted when it is opened; one stands for them here."""
    return 1 if cameras is None else len(cameras)
