"""A map of the latents: their two principal axes, coloured by the direction of the action."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lara.errors import ConfigError
from lara.ops.similarity import common_direction, effective_rank
from lara.probes.baselines import others, pixel_difference
from lara.probes.clips import Clips, Lam, latents
from lara.probes.result import Result


@dataclass(frozen=True, kw_only=True)
class Map(Result):
    """points: (N, 2). explained: share of the variance on each of the two axes. direction_r2: how much of the action's
    direction (cos, sin) is linear in the two numbers, weighed by how far the action goes; in [0, 1].
    common_direction: mean cosine between latents of different clips, near 1 when all are one vector.
    effective_rank: participation ratio of the latents' covariance."""

    points: list[list[float]]
    explained: list[float]
    direction_r2: float
    common_direction: float
    effective_rank: float


@dataclass(frozen=True, kw_only=True)
class Map2d(Result):
    """angles: direction of each clip's summed action in the plane of `dims`, in radians. reach: its length in
    robot units."""

    dims: list[int]
    angles: list[float]
    reach: list[float]
    rows: dict[str, Map]


def map2d(lam: Lam, clips: Clips, *, dims: tuple[int, int] = (0, 1)) -> Map2d:
    """clips: frames at 0, h. dims: the two action dims that span the plane (x and y for end-effector control)."""
    width = clips.actions_NHA.shape[2]
    if not all(0 <= d < width for d in dims):
        raise ConfigError(f"the actions have dims 0..{width - 1}, asked for {dims}")
    last = len(clips.offsets) - 1
    (z,) = latents(lam, clips.frames_NFCHW, [(0, last)], clips.instruction)
    way = clips.actions_NHA.sum(dim=1)[:, list(dims)]
    change = pixel_difference(clips.frames_NFCHW[:, 0], clips.frames_NFCHW[:, last])
    rows = {"model": z.flatten(1).float(), "other_latent": others(z).flatten(1).float(), "pixel_difference": change}
    return Map2d(
        dims=list(dims),
        angles=torch.atan2(way[:, 1], way[:, 0]).tolist(),
        reach=way.norm(dim=1).tolist(),
        rows={name: _map(x, way) for name, x in rows.items()},
    )


def _map(x_NK: Tensor, way_N2: Tensor) -> Map:
    points, explained = principal(x_NK)
    reach = way_N2.norm(dim=1, keepdim=True)
    direction = way_N2 / reach.clamp(min=1e-12)
    # the direction of an action that hardly moves is noise; long ones count more
    weight = reach.double().sqrt()
    ones = torch.cat([points.double(), torch.ones(len(points), 1)], dim=1)
    solution = torch.linalg.lstsq(ones * weight, direction.double() * weight, driver="gelsd").solution
    error = ((ones @ solution - direction) * weight).square().sum()
    mean = (direction * weight.square()).sum(dim=0) / weight.square().sum().clamp(min=1e-12)
    spread = ((direction - mean) * weight).square().sum()
    r2 = (1 - error / spread).item() if spread > 0 else float("nan")
    everything = torch.ones(len(x_NK), dtype=torch.bool)
    return Map(
        points=points.tolist(),
        explained=explained,
        direction_r2=r2,
        common_direction=common_direction(x_NK, everything).item(),
        effective_rank=effective_rank(x_NK, everything).item(),
    )


def principal(x_NK: Float[Tensor, "N K"]) -> tuple[Float[Tensor, "N 2"], list[float]]:
    """Coordinates on the two axes of largest variance, and the share of the variance on each."""
    centred = x_NK.double() - x_NK.double().mean(dim=0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    points = torch.zeros(len(x_NK), 2, dtype=torch.float64)
    n = min(2, len(s))
    points[:, :n] = u[:, :n] * s[:n]
    share = s.square() / s.square().sum().clamp(min=1e-300)
    return points.float(), [share[k].item() if k < n else 0.0 for k in range(2)]
