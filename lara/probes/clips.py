"""Frames of chosen episodes at any distance from each other, what was done between them, and a LAM's view of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lara.data.dataset import Dataset
from lara.data.order import indices_for_step
from lara.errors import ConfigError, DataError
from lara.lam.latbot import LatBotLam
from lara.lam.model import LatentActionModel

BATCH = 32
Lam = LatentActionModel | LatBotLam


@dataclass(frozen=True, kw_only=True)
class Clips:
    """N clips of F frames. frames_NFCHW: uint8. offsets: steps from the clip's start of each frame, the first is 0.
    actions_NHA: robot units, all H = offsets[-1] actions from the first frame to the last, every one of them real.
    episode_N, task_N: numbers. start_N: the first frame's number in the dataset. tasks: their instructions.
    states_NFS: the robot's state at every frame, normalised and padded as in training; None where it is not known."""

    frames_NFCHW: UInt8[Tensor, "N F C h w"]
    offsets: tuple[int, ...]
    actions_NHA: Float[Tensor, "N H A"]
    episode_N: Int[Tensor, " N"]
    task_N: Int[Tensor, " N"]
    start_N: Int[Tensor, " N"]
    tasks: tuple[str, ...]
    states_NFS: Float[Tensor, "N F S"] | None = None

    def __len__(self) -> int:
        return len(self.start_N)

    def frame(self, offset: int) -> UInt8[Tensor, "N C h w"]:
        """The frames `offset` steps after the start."""
        return self.frames_NFCHW[:, self.offsets.index(offset)]

    @property
    def instruction(self) -> tuple[str, ...]:
        """N strings."""
        return tuple(self.tasks[k] for k in self.task_N.tolist())

    def state(self, place: int) -> Float[Tensor, "N S"] | None:
        """The state at the frame in this place, for decoders that read it."""
        return None if self.states_NFS is None else self.states_NFS[:, place]


def sample_clips(data: Dataset, episodes: Sequence[int], *, offsets: Sequence[int], limit: int, view: int = 0) -> Clips:
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
            "least two are needed. Choose a shorter horizon or hold out more episodes (data.split.validation_fraction)"
        )
    n = len(starts)
    chosen = sorted(indices_for_step(step=0, batch_size=n, n=n, seed=0)[:limit].tolist())
    start, episode = (np.array(column, np.int64) for column in zip(*[starts[k] for k in chosen], strict=True))
    actions, task = _numbers(data, start, episode, offsets[-1])
    frames, states = zip(*[_frames(data, start + offset, view) for offset in offsets], strict=True)
    return Clips(
        frames_NFCHW=torch.stack(frames, dim=1),
        states_NFS=torch.stack(states, dim=1),
        offsets=offsets,
        actions_NHA=torch.from_numpy(actions),
        episode_N=torch.from_numpy(episode),
        task_N=torch.from_numpy(task),
        start_N=torch.from_numpy(start),
        tasks=tuple(data.source.tasks),
    )


def _frames(data: Dataset, index: np.ndarray, view: int) -> tuple[Tensor, Tensor]:
    batches = [data.batch(index[k : k + BATCH]) for k in range(0, len(index), BATCH)]
    frames = torch.cat([batch.frames_BFVCHW[:, 0, view] for batch in batches])
    return frames, torch.cat([batch.observation.state_BS for batch in batches])


def _numbers(data: Dataset, start: np.ndarray, episode: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    rows = {row.index: row for row in data.source.episodes}
    actions = np.zeros((len(start), length, len(data.source.action_names)), np.float32)
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
    lam: Lam,
    frames_NFCHW: UInt8[Tensor, "N F C h w"],
    pairs: Sequence[tuple[int, int]],
    instruction: Sequence[str] | None = None,
) -> Float[Tensor, "M N Q D"]:
    """z of M pairs (from, to) of frame positions of every clip; each frame is encoded once.

    instruction: N strings, for a model that reads words (which encodes every pair by itself; ConfigError without them).
    """
    require_eval(lam)
    out = []
    if isinstance(lam, LatBotLam):
        if instruction is None:
            raise ConfigError(f"{type(lam).__name__} reads the instruction, and this probe has none to give")
        for rows in torch.arange(len(frames_NFCHW)).split(BATCH):
            words = [instruction[k] for k in rows.tolist()]
            out.append(torch.stack([lam.encode(frames_NFCHW[rows][:, [i, j]], words).z_BQD for i, j in pairs]))
        return torch.cat(out, dim=1)
    for frames in frames_NFCHW.split(BATCH):
        tokens = lam.encode_frames(frames)
        out.append(torch.stack([lam.export(tokens[:, [i, j]]).z_BQD for i, j in pairs]))
    return torch.cat(out, dim=1)


@torch.no_grad()
def predict(
    lam: Lam,
    now_NCHW: UInt8[Tensor, "N C h w"],
    z_NQD: Float[Tensor, "N Q D"],
    state_NS: Float[Tensor, "N S"] | None = None,
) -> Float[Tensor, "N C h w"]:
    """The future frame in [0, 1] that the decoder paints from `now` and z after the bottleneck. Raises ConfigError for
    a decoder of features.

    state_NS: the state that belongs to `now`, for a decoder that reads it (ConfigError without).
    """
    require_eval(lam)
    if not hasattr(lam.decoder, "normalizer"):
        raise ConfigError(f"{type(lam.decoder).__name__} paints no pixels; leave this probe out")
    if lam.reads_state and state_NS is None:
        raise ConfigError(f"the decoder of {type(lam).__name__} reads the state, and this probe has none to give")
    out = []
    for rows in torch.arange(len(now_NCHW)).split(BATCH):
        through = lam.space.bottleneck(z_NQD[rows], torch.ones(len(rows), dtype=torch.bool)).z
        state = (state_NS[rows],) if lam.reads_state and state_NS is not None else ()
        out.append(lam.decoder.normalizer.to_unit(lam.decode(now_NCHW[rows], through, *state)).clamp(0, 1))
    return torch.cat(out)


def require_eval(lam: Lam) -> None:
    """Probing must not move a codebook. Raises ConfigError for a model in training mode."""
    if lam.training:
        raise ConfigError("a probe needs the latent action model in eval mode; call lam.eval() first")
