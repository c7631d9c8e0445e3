"""What the latent action model sees: held-out frames, its predictions, and how it uses its codes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lara.launch import build_data
from lara.ops.images import psnr
from lara.serve.load import load_system

BATCHES = 16


@dataclass(frozen=True, kw_only=True)
class LamReport:
    """psnr, psnr_copy, psnr_other: dB over held-out pairs, of the prediction, of copying the current frame, and of the
    prediction with another pair's latent (as good as psnr: the latent says nothing). perplexity, codes,
    used: of the codebook over the same pairs. pairs: how many. sheet: PNG of example rows."""

    psnr: float
    psnr_copy: float
    psnr_other: float
    perplexity: float
    codes: int
    used: int
    pairs: int
    sheet: bytes


@torch.no_grad()
def look(run: Path, *, examples: int = 6) -> LamReport:
    """Measures the LAM of a run on the held-out episodes of its own data."""
    system, saved = load_system(run, sides=("lam",))
    lam = system.lam
    config = saved.config
    data = build_data({**config, "inherit": None, "data": {**config["data"], "cameras": []}})
    data.prepare()
    ours, copies, others, codes, rows = [], [], [], [], []
    for batch in data.validation_batches(batch_size=64, limit=BATCHES):
        real = batch.frame_mask_BF.all(dim=1)
        frames = batch.frames_BFVCHW[real][:, :, 0]
        latent = lam.encode(frames)
        everything = torch.ones(len(frames), dtype=torch.bool)
        normalizer = lam.decoder.normalizer
        z = lam.space.bottleneck(latent.z_BQD, everything).z
        predicted = normalizer.to_unit(lam.decode(frames[:, 0], z))
        swapped = normalizer.to_unit(lam.decode(frames[:, 0], z.roll(1, dims=0)))
        target = frames[:, 1].float() / 255.0
        now = frames[:, 0].float() / 255.0
        ours.append(psnr(predicted, target))
        copies.append(psnr(now, target))
        others.append(psnr(swapped, target))
        codes.append(lam.space.encode(latent.z_BQD).flatten())
        moved = (target - now).abs().flatten(1).mean(dim=1)
        rows += list(zip(moved.tolist(), now, target, predicted.clamp(0, 1), strict=True))
    count = torch.bincount(torch.cat(codes), minlength=lam.space.codes).double()
    p = count / count.sum()
    # the pairs that move most, one of every few, so that the sheet shows motion and not one episode
    rows.sort(key=lambda r: -r[0])
    chosen = rows[: 12 * examples : 12]
    return LamReport(
        psnr=torch.cat(ours).mean().item(),
        psnr_copy=torch.cat(copies).mean().item(),
        psnr_other=torch.cat(others).mean().item(),
        perplexity=torch.exp(-(p * p.clamp(min=1e-12).log()).sum()).item(),
        codes=lam.space.codes,
        used=int((count > 0).sum()),
        pairs=sum(len(x) for x in ours),
        sheet=_sheet([(now, target, predicted) for _, now, target, predicted in chosen]),
    )


def _sheet(rows: list[tuple[Tensor, Tensor, Tensor]]) -> bytes:
    """One column per example: now, future, predicted future, and the change of each (grey = none), as PNG bytes."""
    from PIL import Image

    columns = []
    for now, target, predicted in rows:
        cells = [now, target, predicted, 0.5 + 1.5 * (target - now), 0.5 + 1.5 * (predicted - now)]
        columns.append(torch.cat([c.clamp(0, 1) for c in cells], dim=1))
    pixels = (torch.cat(columns, dim=2).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels).resize((pixels.shape[1] * 2, pixels.shape[0] * 2), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()
