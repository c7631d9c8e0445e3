"""Vector quantisation with a codebook that follows the data (van den Oord et al. 2017, section 3.1 and appendix A.1).

    code(z) = the nearest of K;   n_k, s_k = moving averages of how many vectors, and of their sum;   c_k = s_k / n_k

A code whose n_k falls below a threshold is moved onto a vector of the current batch. All ranks of a run count over the
batch of all of them and draw alike, so that each holds the codebook that one process with the whole batch would have.
(Which vectors are drawn depends on the order of rows, so this last holds where a rank's rows are a run of the whole
batch's; with several cameras or triplets, whose rows are folded, ranks agree on another draw.)
Nothing here reads a value on the host.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.ops.precision import full_precision
from lara.ops.quantize import nearest_code, rotate_to, straight_through
from lara.ops.ranks import gather_rows, sum_over_ranks

EPS = 1e-5  # of the smoothing that keeps an unused code's average from being divided by 0


class VectorQuantizer(nn.Module):
    """K codes of D dims.

    State: `_codebook.embed` (1, K, D) the codes, `embed_avg` (1, K, D) and `cluster_size` (1, K) their moving averages;
    the names and shapes of vector-quantize-pytorch, which checkpoints hold.
    """

    def __init__(
        self, *, dim: int, codes: int, decay: float, revive_below: float, gradient: bool, rotation_trick: bool
    ) -> None:
        """As `latents.vq.VQSpace`. Raises ConfigError for numbers that are none of a codebook."""
        super().__init__()
        if dim < 1 or codes < 1:
            raise ConfigError(f"a codebook needs at least one code of one dim, got codes={codes}, dim={dim}")
        if not 0.0 <= decay < 1.0 or revive_below < 0.0:
            raise ConfigError(
                f"decay lies in [0, 1) and revive_below is 0 (never) or more, got {decay} and {revive_below}"
            )
        self.rotation_trick = rotation_trick
        self._codebook = Codebook(dim=dim, codes=codes, decay=decay, revive_below=revive_below, gradient=gradient)

    @property
    def codebook(self) -> Float[Tensor, "K D"]:
        return self._codebook.embed[0]

    @property
    def usage(self) -> Float[Tensor, " K"]:
        """Moving average of how many vectors of a batch, of all ranks together, each code has won."""
        return self._codebook.cluster_size[0]

    def forward(
        self, z_BQD: Float[Tensor, "B Q D"], mask_BQ: Bool[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q D"], Int[Tensor, "B Q"]]:
        """Nearest codes and their indices; zeros and index 0 where the mask is False, whatever stands there.

        In float32 at least (float64 stays), autocast or not: a search in bf16 picks wrong codes. In training mode the
        codebook then follows the batch.
        """
        with full_precision(z_BQD):
            z = z_BQD if z_BQD.dtype == torch.float64 else z_BQD.float()
            z = torch.where(mask_BQ[..., None], z, torch.zeros_like(z))
            index_BQ = torch.where(mask_BQ, nearest_code(z, self.codebook.to(z.dtype)), 0)
            code = self.codebook.detach().to(z.dtype)[index_BQ]
            quantised = rotate_to(z, code) if self.rotation_trick else straight_through(z, code)
            if self.training:
                self._codebook.follow(z.detach().flatten(0, 1), index_BQ.flatten(), mask_BQ.flatten())
            return torch.where(mask_BQ[..., None], quantised, torch.zeros_like(quantised)), index_BQ


class Codebook(nn.Module):
    """The codes and what moves them; see `VectorQuantizer`."""

    initted: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    embed: Tensor

    def __init__(self, *, dim: int, codes: int, decay: float, revive_below: float, gradient: bool) -> None:
        super().__init__()
        self.decay, self.revive_below, self.gradient = decay, revive_below, gradient
        embed = torch.empty(1, codes, dim)
        nn.init.kaiming_uniform_(embed)
        # nothing reads it; it stands in every checkpoint that holds a codebook
        self.register_buffer("initted", torch.tensor(True))
        self.register_buffer("cluster_size", torch.ones(1, codes))
        self.register_buffer("embed_avg", embed.clone())
        if gradient:
            self.embed = nn.Parameter(embed)
        else:
            self.register_buffer("embed", embed)

    @torch.no_grad()
    def follow(self, z_ND: Float[Tensor, "N D"], index_N: Int[Tensor, " N"], real_N: Bool[Tensor, " N"]) -> None:
        """One step of the averages towards this batch, of all ranks; a batch without a real vector moves nothing.

        index_N: the code that each vector chose. A codebook that learns by gradient has averages for `revive_below`
        alone, and without that none.
        """
        if self.gradient and not self.revive_below:
            return
        sums_KD, counts_K = self._of_all_ranks(z_ND, index_N, real_N)
        weight = (1.0 - self.decay) * (counts_K.sum() > 0)
        self.cluster_size[0].lerp_(counts_K, weight)
        self.embed_avg[0].lerp_(sums_KD, weight)
        if not self.gradient:
            total = self.cluster_size[0].sum()
            smoothed_K = (self.cluster_size[0] + EPS) / (total + len(counts_K) * EPS) * total
            self.embed[0].copy_(self.embed_avg[0] / smoothed_K[:, None])
        if self.revive_below:
            self._revive(gather_rows(z_ND), gather_rows(real_N))

    def _of_all_ranks(self, z_ND: Tensor, index_N: Tensor, real_N: Tensor) -> tuple[Tensor, Tensor]:
        """Sum (K, D) and number (K,) of the vectors that chose each code."""
        one = real_N.to(self.embed_avg.dtype)[:, None]
        rows = torch.cat([z_ND.to(one.dtype) * one, one], dim=1)
        total = torch.zeros(self.embed.shape[1], rows.shape[1], dtype=rows.dtype, device=rows.device)
        total = sum_over_ranks(total.index_add(0, index_N, rows))
        return total[:, :-1], total[:, -1]

    def _revive(self, z_ND: Tensor, real_N: Tensor) -> None:
        """Dead codes, in a drawn order, take the places of real vectors, in another; no vector is taken twice, so what
        is left over stays dead until a later batch."""
        dead_K = self.cluster_size[0] < self.revive_below
        seed = _seed(self.cluster_size[0])
        turn_K = torch.argsort(_drawn_order(seed, dead_K))  # the how-manieth each code is
        chosen_K = _drawn_order(seed + 1, real_N)[turn_K.clamp(max=len(real_N) - 1)]
        moves_K = dead_K & (turn_K < real_N.sum())
        vectors_KD = z_ND[chosen_K].to(self.embed.dtype)
        self.embed[0].copy_(torch.where(moves_K[:, None], vectors_KD, self.embed[0]))
        self.embed_avg[0].copy_(torch.where(moves_K[:, None], vectors_KD * self.revive_below, self.embed_avg[0]))
        self.cluster_size[0].copy_(torch.where(moves_K, self.revive_below, self.cluster_size[0]))


# Draws are a function of the averages of use: these are the same on all ranks (sums of whole numbers, so exactly), they
# move with every batch, and they stand in the checkpoint. No generator has to agree, be saved, or be read by the host.
def _seed(cluster_size_K: Tensor) -> Tensor:
    bits = cluster_size_K.float().view(torch.int32).to(torch.int64)
    return _scramble(bits + 0x9E3779B9 * torch.arange(1, len(bits) + 1, device=bits.device)).sum()


def _drawn_order(seed: Tensor, first_N: Bool[Tensor, " N"]) -> Int[Tensor, " N"]:
    """A permutation of 0..N-1 that is a function of the seed: those that are `first` before the others."""
    number_N = torch.arange(len(first_N), device=first_N.device)
    drawn = _scramble(_scramble(number_N) + seed)
    return torch.argsort(torch.where(first_N, drawn, drawn + 2**32), stable=True)


def _scramble(x: Tensor) -> Tensor:
    """A 32-bit integer hash (two rounds of xor-shift and multiply) of int64s, in [0, 2^32)."""
    x = x & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)
