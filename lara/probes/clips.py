"""Frames of chosen episodes at any distance from each other, what was done between them, and a LAM's view of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lara.data.episodes import EpisodeData
from lara.data.order import indices_for_step
from lara.errors import ConfigError, DataError
from lara.lam.model import LatentActionModel

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Clips:
    """N clips of F frames. frames_NFCHW: uint8. offsets: steps from the clip's start of each frame, the first is 0.
    actions_NHA: robot units, all H = offsets[-1] actions from the first frame to the last, every one of them real.
    episode_N, task_N: numbers. start_N: the first frame's number in the dataset. tasks: their instructions."""

    frames_NFCHW: UInt8[Tensor, "N F C h w"]
    offsets: tuple[int, ...]
    actions_NHA: Float[Tensor, "N H A"]
    episode_N: Int[Tensor, "N"]
    task_N: Int[Tensor, "N"]
    start_N: Int[Tensor, "N"]
    tasks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.start_N)

    def frame(self, offset: int) -> UInt8[Tensor, "N C h w"]:
        """The frames `offset` steps after the start."""
        return self.frames_NFCHW[:, self.offsets.index(offset)]


def sample_clips(
    data: EpisodeData, episodes: Sequence[int], *, offsets: Sequence[int], limit: int, view: int = 0
) -> Clips:
    """At most `limit` clips of these episodes, spread over all their starts; the same ones at every call.

    offsets: ascending from 0, in steps, e.g. (0, h) for pairs. view: which of the data's lam_cameras.
    Only clips that lie wholly inside their episode are taken. Raises DataError when there are fewer than two,
    ConfigError for offsets or a view that cannot be.
    """
    offsets = tuple(offsets)
    if not offsets or offsets[0] != 0 or sorted(set(offsets)) != list(offsets):
        raise ConfigError(f"offsets must ascend from 0, got {offsets}")
    data.prepare()
    if not 0 <= view < len(data.lam_cameras):
        raise ConfigError(f"view {view} is none of the latent action model's cameras {data.lam_cameras}")
    rows = {row.index: row for row in data.source.episodes}
    starts = [(rows[k].start + t, k) for k in sorted(episodes) for t in range(max(0, rows[k].length - offsets[-1]))]
    if len(starts) < 2:
        raise DataError(
            f"{data.source.root}: {len(episodes)} episodes hold {len(starts)} clips of {offsets[-1] + 1} frames; at "
            "least two are needed. Choose a shorter horizon or hold out more episodes (data.validation_fraction)"
        )
    n = len(starts)
    chosen = sorted(indices_for_step(step=0, batch_size=n, n=n, seed=0)[:limit].tolist())
    start, episode = (np.array(column, np.int64) for column in zip(*[starts[k] for k in chosen], strict=True))
    actions, task = _numbers(data, start, episode, offsets[-1])
    return Clips(
        frames_NFCHW=torch.stack([_frames(data, start + offset, view) for offset in offsets], dim=1),
        offsets=offsets,
        actions_NHA=torch.from_numpy(actions),
        episode_N=torch.from_numpy(episode),
        task_N=torch.from_numpy(task),
        start_N=torch.from_numpy(start),
        tasks=tuple(data.source.tasks),
    )


def _frames(data: EpisodeData, index: np.ndarray, view: int) -> Tensor:
    parts = [index[k : k + BATCH] for k in range(0, len(index), BATCH)]
    return torch.cat([data.batch(part).frames_BFVCHW[:, 0, view] for part in parts])


def _numbers(data: EpisodeData, start: np.ndarray, episode: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    rows = {row.index: row for row in data.source.episodes}
    actions = np.zeros((len(start), length, data.source.action_dim), np.float32)
    task = np.zeros(len(start), np.int64)
    for k in np.unique(episode):
        arrays = data.source.arrays(int(k))
        for i in np.flatnonzero(episode == k):
            t = start[i] - rows[int(k)].start
            actions[i] = arrays.actions[t : t + length]
            task[i] = arrays.task_index[t]
    return actions, task


@torch.no_grad()
def latents(
    lam: LatentActionModel, frames_NFCHW: UInt8[Tensor, "N F C h w"], pairs: Sequence[tuple[int, int]]
) -> Float[Tensor, "M N Q D"]:
    """z of M pairs (from, to) of frame positions of every clip; each frame is encoded once."""
    require_eval(lam)
    out = []
    for frames in frames_NFCHW.split(BATCH):
        tokens = lam.encode_frames(frames)
        out.append(torch.stack([lam.export(tokens[:, [i, j]]).z_BQD for i, j in pairs]))
    return torch.cat(out, dim=1)


@torch.no_grad()
def predict(
    lam: LatentActionModel, now_NCHW: UInt8[Tensor, "N C h w"], z_NQD: Float[Tensor, "N Q D"]
) -> Float[Tensor, "N C h w"]:
    """The future frame in [0, 1] that the decoder paints from `now` and z after the bottleneck. Raises ConfigError for
    a decoder of features."""
    require_eval(lam)
    if not hasattr(lam.decoder, "normalizer"):
        raise ConfigError(f"{type(lam.decoder).__name__} paints no pixels; leave this probe out")
    out = []
    for now, z in zip(now_NCHW.split(BATCH), z_NQD.split(BATCH), strict=True):
        through = lam.space.bottleneck(z, torch.ones(len(z), dtype=torch.bool)).z
        out.append(lam.decoder.normalizer.to_unit(lam.decode(now, through)).clamp(0, 1))
    return torch.cat(out)


def require_eval(lam: LatentActionModel) -> None:
    """Probing must not move a codebook. Raises ConfigError for a model in training mode."""
    if lam.training:
        raise ConfigError("a probe needs the latent action model in eval mode; call lam.eval() first")
