"""Many small pictures as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def sheet(rows: Sequence[Sequence[Tensor]], *, gap: int = 2, least: int = 128) -> bytes:
    """rows of (3, h, w) images in [0, 1], all of one size -> PNG bytes; small images are enlarged to `least` pixels."""
    from PIL import Image

    lines = []
    for line in rows:
        padded = [torch.nn.functional.pad(cell.clamp(0, 1), (0, gap, 0, gap), value=1.0) for cell in line]
        lines.append(torch.cat(padded, dim=2))
    pixels = (torch.cat(lines, dim=1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels)
    times = max(1, -(-least // rows[0][0].shape[-1]))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()
