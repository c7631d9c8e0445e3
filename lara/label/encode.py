"""Frames in order -> the latent action of every pair (t, t + gap), each frame encoded exactly once.

    frames   0 1 2 3 4 5 6 ...     encode     batch by batch
    tokens       [ last gap | new ]           a sliding window
    z_t      former(tokens_t, tokens_{t+gap}) as soon as t + gap has tokens

Batches run on over the ends of episodes; pairs never do.

N frames of all episodes in order, Q queries, D dims, P patches, E width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lara.errors import ConfigError, DataError
from lara.lam.model import LatentActionModel


@dataclass(frozen=True, kw_only=True)
class Labels:
    """z_NX: (N, Q * D) float32, the continuous latent before any bottleneck, queries side by side; 0 where not real.
    index_NQ: (N, Q) int64 codes, -1 where not real; None for a space without codes. code_NX: (N, Q * D) float32, the
    codes' vectors. mask_N: True where t + gap lies inside the episode. encoded: frames that went through the encoder.
    """

    z_NX: np.ndarray
    index_NQ: np.ndarray | None
    code_NX: np.ndarray | None
    mask_N: np.ndarray
    encoded: int


@torch.no_grad()
def label_frames(
    lam: LatentActionModel,
    chunks: Iterable[np.ndarray],
    lengths: Sequence[int],
    *,
    gap: int,
    batch_size: int,
    precision: str = "fp32",
) -> Labels:
    """The labels of some episodes whose frames come in order.

    chunks: (n, h, w, 3) uint8 arrays of any n, N frames in all. lengths: frames of each episode. batch_size: frames
    per pass of the encoder, and pairs per pass of the former. precision: "fp32", or "bf16" for autocast.
    Equals `lam.encode` on every pair. Raises ConfigError for a model in training mode, DataError when the chunks hold
    another number of frames than the lengths say.
    """
    if lam.training:
        raise ConfigError("labels need the latent action model in eval mode; call lam.eval() first")
    if gap < 1 or batch_size < 1:
        raise ConfigError(f"gap and batch_size are positive, got {gap} and {batch_size}")
    begins = np.repeat(np.cumsum([0, *lengths])[:-1], lengths)
    ends = np.repeat(np.cumsum(lengths), lengths)
    total, device = len(ends), next(iter(lam.parameters())).device
    codes, width = lam.space.coder(), lam.queries * lam.space.dim
    z = np.zeros((total, width), np.float32)
    index = None if codes is None else np.full((total, lam.queries), -1, np.int64)
    code = None if codes is None else np.zeros((total, width), np.float32)
    held: Tensor | None = None  # tokens of the frames first ... done - 1
    first = done = 0
    for images in _batches(chunks, batch_size):
        frames = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
        if done + len(frames) > total:
            raise DataError(f"expected {total} frames, got at least {done + len(frames)}")
        with _autocast(precision, device):
            new = lam.encode_frames(frames[:, None])[:, 0]
            held = new if held is None else torch.cat([held, new])
            future = np.arange(done, done + len(frames))
            done += len(frames)
            future = future[future - gap >= begins[future]]
            if len(future):
                now = torch.from_numpy(future - gap - first).to(device)
                pair = torch.stack([held[now], held[now + gap]], dim=1)
                z_BQD = lam.latent(pair).z_BQD.float()
        if len(future):
            z[future - gap] = z_BQD.flatten(1).cpu().numpy()
            if codes is not None and index is not None and code is not None:
                indices_BQ = codes.encode(z_BQD)
                index[future - gap] = indices_BQ.cpu().numpy()
                code[future - gap] = codes.lookup(indices_BQ).float().flatten(1).cpu().numpy()
        if len(held) > gap:
            first, held = done - gap, held[-gap:].clone()
    if done != total:
        raise DataError(f"expected {total} frames, got {done}")
    return Labels(z_NX=z, index_NQ=index, code_NX=code, mask_N=np.arange(total) + gap < ends, encoded=done)


def _batches(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same frames in arrays of `size` (the last may be smaller)."""
    waiting: list[np.ndarray] = []
    count = 0
    for chunk in chunks:
        waiting.append(chunk)
        count += len(chunk)
        while count >= size:
            joined = np.concatenate(waiting)
            yield joined[:size]
            waiting, count = [joined[size:]], count - size
    if count:
        yield np.concatenate(waiting)


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    if precision not in ("fp32", "bf16"):
        raise ConfigError(f"label.precision is fp32|bf16, got {precision!r}")
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
