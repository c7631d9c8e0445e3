"""Which codes does the model use on held-out data? Per batch these figures say little; here they are over all pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lara.errors import ConfigError
from lara.latents.codes import CodeSpace
from lara.probes.clips import Clips, Lam, latents
from lara.probes.result import Result


@dataclass(frozen=True, kw_only=True)
class Usage(Result):
    """used: share of the K codes hit. perplexity: exp(-sum p log p), in [1, K]. Both also per query position (Q).
    dead: codes that nothing hit. counts: (K,) hits. sequences: share of distinct code sequences among the pairs."""

    codes: int
    used: float
    perplexity: float
    dead: int
    used_per_query: list[float]
    perplexity_per_query: list[float]
    counts: list[int]
    sequences: float
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Codebook(Result):
    """rows: the model, and "uniform_codes", drawn as often: the most that so few pairs could show."""

    rows: dict[str, Usage]


def codebook(lam: Lam, clips: Clips) -> Codebook:
    """clips: frames at 0, h. Raises ConfigError when the latent space has no codes."""
    coder: CodeSpace | None = lam.space.coder()
    if coder is None:
        raise ConfigError(f"{type(lam.space).__name__} has no codes; leave the codebook probe out")
    (z,) = latents(lam, clips.frames_NFCHW, [(0, len(clips.offsets) - 1)], clips.instruction)
    indices = coder.encode(z)
    generator = torch.Generator().manual_seed(0)
    uniform = torch.randint(0, coder.codes, indices.shape, generator=generator)
    return Codebook(rows={"model": usage(indices, coder.codes), "uniform_codes": usage(uniform, coder.codes)})


def usage(indices_NQ: Int[Tensor, "N Q"], codes: int) -> Usage:
    """Figures of N code sequences of length Q over `codes` codes."""
    counts = torch.bincount(indices_NQ.flatten(), minlength=codes)
    per_query = [torch.bincount(column, minlength=codes) for column in indices_NQ.T]
    return Usage(
        codes=codes,
        used=(counts > 0).double().mean().item(),
        perplexity=_perplexity(counts),
        dead=int((counts == 0).sum()),
        used_per_query=[(c > 0).double().mean().item() for c in per_query],
        perplexity_per_query=[_perplexity(c) for c in per_query],
        counts=counts.tolist(),
        sequences=len(indices_NQ.unique(dim=0)) / len(indices_NQ),
        pairs=len(indices_NQ),
    )


def _perplexity(counts: Tensor) -> float:
    p = counts.double() / counts.sum().clamp(min=1)
    return torch.exp(-torch.special.xlogy(p, p).sum()).item()
