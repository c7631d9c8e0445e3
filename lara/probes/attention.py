"""Where do the latent's queries look? Attention of the M-Former's last block over the patches (LARA 003, Fig. 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lara.errors import ConfigError
from lara.lam.former import MFormer
from lara.lam.model import LatentActionModel
from lara.probes.baselines import others
from lara.probes.clips import BATCH, Clips, Lam, require_eval
from lara.probes.result import Result
from lara.probes.sheet import sheet


@dataclass(frozen=True, kw_only=True)
class Attention(Result):
    """shares: of the queries' attention that falls on queries, the current frame, the separator, the future frame.
    on_change: attention on the future frame's patches, weighed by how much each patch really changed, divided by what
        evenly spread attention would get; 1 is chance. on_change_random: the same with another sample's attention.
    entropy: of the attention over the future frame, divided by log P; 1 is evenly spread. picture: a PNG."""

    shares: dict[str, float]
    on_change: float
    on_change_random: float
    entropy: float
    pairs: int
    picture: bytes


@torch.no_grad()
def attention(lam: Lam, clips: Clips, *, examples: int = 8) -> Attention:
    """clips: frames at 0, h. Raises ConfigError for another former than MFormer or patches in no square."""
    last = len(clips.offsets) - 1
    frames = clips.frames_NFCHW[:, [0, last]]
    full = torch.cat([query_attention(lam, part) for part in frames.split(BATCH)])
    queries, tokens = full.shape[1], (full.shape[2] - full.shape[1] - 1) // 2
    parts = full.mean(dim=1).split([queries, tokens, 1, tokens], dim=1)
    side = math.isqrt(tokens)
    # a class token, where the encoder keeps one, stands before the patches
    if side**2 not in (tokens, tokens - 1):
        raise ConfigError(f"{tokens} tokens per frame are no square of patches, with or without a class token")
    maps = torch.stack([parts[1], parts[3]], dim=1)[..., -(side**2) :].unflatten(2, (side, side))
    unit = frames.float() / 255.0
    change = F.adaptive_avg_pool2d((unit[:, 1] - unit[:, 0]).abs().mean(dim=1, keepdim=True), side)[:, 0]
    future = maps[:, 1].flatten(1) / maps[:, 1].flatten(1).sum(dim=1, keepdim=True)
    entropy = -torch.special.xlogy(future, future).sum(dim=1).mean() / math.log(max(2, side**2))
    order = change.flatten(1).sum(dim=1).argsort(descending=True)
    chosen = order[:: max(1, len(order) // (2 * examples))][:examples].tolist()
    lines = [[unit[k, 0], unit[k, 1], *(_heat(unit[k, f], maps[k, f]) for f in (0, 1))] for k in chosen]
    return Attention(
        shares={
            name: part.sum(dim=1).mean().item()
            for name, part in zip(("queries", "current_frame", "separator", "future_frame"), parts, strict=True)
        },
        on_change=_gain(future, change),
        on_change_random=_gain(others(future), change),
        entropy=entropy.item(),
        pairs=len(clips),
        picture=sheet([list(column) for column in zip(*lines, strict=True)]),
    )


@torch.no_grad()
def query_attention(lam: Lam, frames_NFCHW: Tensor) -> Float[Tensor, "N Q T"]:
    """Attention of each query over [Q queries | P now | SEP | P future], mean over heads, in the last block.

    Recomputed from the block's own projections and its real input; the model's own fused attention does not keep it.
    """
    require_eval(lam)
    if not isinstance(lam, LatentActionModel) or not isinstance(lam.former, MFormer):
        raise ConfigError(f"attention maps are known for MFormer only, not for {type(lam.former).__name__}")
    seen: list[Tensor] = []
    layer: Any = lam.former.trunk.blocks[-1].attention
    handle = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        lam.encode(frames_NFCHW)
    finally:
        handle.remove()
    (x,) = seen
    return weights_of(layer, x)[:, :, : lam.former.n_queries].mean(dim=1)


def weights_of(layer: Any, x_BTE: Float[Tensor, "B T E"]) -> Float[Tensor, "B heads T T"]:
    """softmax(q k / sqrt(d)) of an nn.attention.Attention attending to itself."""
    query = layer.query(x_BTE).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
    key = layer.key_value(x_BTE).chunk(2, dim=-1)[0].unflatten(-1, (layer.heads, -1)).transpose(1, 2)
    return torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)


def _gain(attention: Tensor, change: Tensor) -> float:
    """sum(attention * change) / mean(change), mean over samples that changed at all."""
    flat = change.flatten(1)
    moving = flat.sum(dim=1) > 0
    if not moving.any():
        return float("nan")
    return ((attention * flat).sum(dim=1)[moving] / flat.mean(dim=1)[moving]).mean().item()


def _heat(image: Tensor, attention: Tensor) -> Tensor:
    """The image in grey with attention in red, brightest patch full red."""
    heat = F.interpolate(attention[None, None], size=image.shape[-2:], mode="bilinear")[0, 0]
    heat = (heat - heat.min()) / (heat.max() - heat.min()).clamp(min=1e-12)
    grey = image.mean(dim=0).expand(3, -1, -1) * 0.7
    red = torch.tensor([1.0, 0.1, 0.0])[:, None, None]
    return grey * (1 - 0.8 * heat) + red * 0.8 * heat
