"""What a latent action model sees: held-out frames, its predictions, and how it uses its codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lara.errors import ConfigError
from lara.launch import build_data
from lara.ops.images import psnr
from lara.probes.baselines import others
from lara.probes.codebook import usage
from lara.probes.sheet import sheet
from lara.serve.load import load_lam

BATCHES = 16


@dataclass(frozen=True, kw_only=True)
class LamView:
    """Over held-out frame pairs.

    Attributes:
        psnr: dB, of the prediction.
        psnr_copy: dB, of copying the current frame.
        psnr_other_latent: dB, of the prediction with another pair's latent. As good as `psnr`, the latent says nothing.
        perplexity: Of the codebook, in [1, codes].
        codes: In the codebook.
        codes_used: By at least one pair.
        pairs: How many.
        picture: PNG, one column per example: now, future, predicted future, and the change of each (grey = none).
    """

    psnr: float
    psnr_copy: float
    psnr_other_latent: float
    perplexity: float
    codes: int
    codes_used: int
    pairs: int
    picture: bytes

    def numbers(self) -> dict[str, float]:
        """All but the picture."""
        return {name: value for name, value in vars(self).items() if name != "picture"}


@torch.no_grad()
def look(run: Path, *, examples: int = 6) -> LamView:
    """Measures the LAM of a run on the held-out episodes of its own data."""
    lam, saved = load_lam(run)
    config = saved.config
    coder = lam.space.coder()
    if coder is None:
        raise ConfigError(f"this view counts codes, and {type(lam.space).__name__} has none; train with latent=vq")
    data = build_data({**config, "inherit": None, "data": {**config["data"], "cameras": []}})
    data.prepare()
    ours, copies, swapped, codes, rows = [], [], [], [], []
    for batch in data.validation_batches(batch_size=64, limit=BATCHES):
        frames = batch.frames_BFVCHW[batch.frame_mask_BF.all(dim=1)][:, :, 0]
        latent = lam.encode(frames)
        z = lam.space.bottleneck(latent.z_BQD, torch.ones(len(frames), dtype=torch.bool)).z
        now, target = (frames[:, k].float() / 255.0 for k in (0, 1))
        predicted, other = (lam.decoder.normalizer.to_unit(lam.decode(frames[:, 0], x)) for x in (z, others(z)))
        ours.append(psnr(predicted, target))
        copies.append(psnr(now, target))
        swapped.append(psnr(other, target))
        codes.append(coder.encode(latent.z_BQD))
        moved = (target - now).abs().flatten(1).mean(dim=1)
        rows += list(zip(moved.tolist(), now, target, predicted.clamp(0, 1), strict=True))
    used = usage(torch.cat(codes), coder.codes)
    # the pairs that move most, one of every few, so that the sheet shows motion and not one episode
    rows.sort(key=lambda row: -row[0])
    return LamView(
        psnr=torch.cat(ours).mean().item(),
        psnr_copy=torch.cat(copies).mean().item(),
        psnr_other_latent=torch.cat(swapped).mean().item(),
        perplexity=used.perplexity,
        codes=used.codes,
        codes_used=used.codes - used.dead,
        pairs=used.pairs,
        picture=_picture([(now, target, predicted) for _, now, target, predicted in rows[: 12 * examples : 12]]),
    )


def _picture(examples: list[tuple[Tensor, Tensor, Tensor]]) -> bytes:
    now, target, predicted = (list(images) for images in zip(*examples, strict=True))
    changes = [[0.5 + 1.5 * (b - a) for a, b in zip(now, after, strict=True)] for after in (target, predicted)]
    return sheet([now, target, predicted, *changes])
