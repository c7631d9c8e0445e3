"""Rotational latents: N tokens of N dims are one rotation of N dimensions (RotVLA 001, section 3.1).

    raw (B, N, N)  ->  SoftVQ on the N tokens  ->  nearest rotation  ->  R        (Eq. 5: `extract`)

The codebook stands BEFORE the projection, on the encoder's raw tokens; what comes out is the latent, for the decoder
and for everybody else. Order of composition, everywhere: R_ac = R_ab R_bc, the earlier step left. In the gauge of an
anchored identity R_e it is R_ac = R_ab R_e' R_bc (`Gauge`), which is plain matmul when R_e = I.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lara.errors import ConfigError
from lara.latents.groups import Group
from lara.latents.space import Bottleneck, LatentSpace
from lara.losses.quantization import soft_hardness, soft_kl, soft_perplexity
from lara.nn.softvq import SoftVQ
from lara.ops import rotation

_ONTO = {
    "svd": rotation.project_to_son,
    "cayley": rotation.cayley,
    "exponential": rotation.skew_exponential,
}


class RotationSpace(LatentSpace):
    """SO(N); Q = D = N = dim.

    Args:
        dim: N. The paper's best is 16 of {8, 16, 32}.
        onto: "svd" projects to the nearest rotation (the paper; idempotent). "cayley" and "exponential" are charts of
            the raw matrix' skew part: no SVD, N(N-1)/2 free numbers, not idempotent, so `project` must be applied once.
        softvq: the codebook of Eqs. 15-16, of the same dim; None for a continuous space without. It needs onto = "svd".
    """

    buildable: ClassVar[str] = "model"
    gauged = True

    def __init__(
        self,
        *,
        dim: int = 16,
        onto: str = "svd",
        softvq: SoftVQ | None = None,
    ) -> None:
        super().__init__()
        if onto not in _ONTO:
            raise ConfigError(f"onto must be one of {', '.join(_ONTO)}, got '{onto}'")
        if dim < 2:
            raise ConfigError(f"a rotation needs at least 2 dimensions, got dim={dim}")
        if softvq is not None and softvq.dim != dim:
            raise ConfigError(f"the codes of softvq must have the dims of a token, {dim}, got {softvq.dim}")
        if softvq is not None and onto != "svd":
            raise ConfigError(
                f"softvq works with onto='svd' only, got '{onto}': its mixtures must stay near the rotations that they "
                "came from, which a chart does not grant"
            )
        self.dim = dim
        self.onto = onto
        self.softvq = softvq

    def default_weights(self) -> dict[str, float]:
        """Of RotVLA's recipe; the paper states none."""
        return {} if self.softvq is None else {"kl": 0.01}

    def group(self) -> Group:
        return self

    def project(self, raw_BQD: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
        """Onto SO(N) without the codebook: for predicted latents, composed latents, and spaces without a codebook.

        float32 out (float64 for float64).

        Raises:
            ConfigError: when the latent is not N tokens of N dims.
        """
        if raw_BQD.shape[-2:] != (self.dim, self.dim):
            raise ConfigError(
                f"SO({self.dim}) needs {self.dim} queries of {self.dim} dims, got {tuple(raw_BQD.shape[-2:])}; set the "
                f"LAM's queries to {self.dim}"
            )
        return _ONTO[self.onto](raw_BQD)

    def extract(self, raw_BQD: Float[Tensor, "B N N"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """Raw tokens -> codebook -> rotation: the paper's latent (Eq. 5), with its "kl" (Eq. 20)."""
        return Bottleneck(self.project(raw_BQD), {}, {}) if self.softvq is None else self._soften(raw_BQD, mask_B)

    def bottleneck(self, z_BQD: Float[Tensor, "B N N"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """Nothing without a codebook. With one, `extract` of the rotations: for a model that aligns or exports the
        latent before any codebook (LARA 003) and still decodes through it."""
        return Bottleneck(z_BQD, {}, {}) if self.softvq is None else self._soften(z_BQD, mask_B)

    def _soften(self, raw_BQD: Tensor, mask_B: Tensor) -> Bottleneck:
        assert self.softvq is not None
        # a masked sample may hold anything; inside the softmax a NaN would reach the codes even at zero weight
        assigned = self.softvq(torch.where(mask_B[:, None, None], raw_BQD, torch.zeros_like(raw_BQD)))
        log_q = assigned.log_q_BTK
        metrics = {"perplexity": soft_perplexity(log_q, mask_B), "hardness": soft_hardness(log_q, mask_B)}
        return Bottleneck(self.project(assigned.mixture_BTD), {"kl": soft_kl(log_q, mask_B)}, metrics)

    def compose(self, z_ab: Float[Tensor, "*B N N"], z_bc: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
        return rotation.compose(z_ab, z_bc)

    def inverse(self, z_ab: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
        return rotation.inverse(z_ab)

    def identity(self, like: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
        return rotation.identity_like(like)

    def gauge(self, z_aa_BQD: Float[Tensor, "B N N"], mask_B: Bool[Tensor, " B"]) -> Gauge:
        """The group whose unit is this batch's standing still: R_e = nearest rotation to the mean of the latents of
        identical frame pairs (Eq. 9), with gradient to them. A batch without any real pair gives R_e = I."""
        z = z_aa_BQD if z_aa_BQD.dtype == torch.float64 else z_aa_BQD.float()
        mean = torch.where(mask_B[:, None, None], z, torch.zeros_like(z)).sum(0) / mask_B.sum().clamp(min=1)
        return Gauge(rotation.project_to_son(torch.where(mask_B.any(), mean, rotation.identity_like(mean))))


@dataclass(frozen=True)
class Gauge:
    """SO(N) with its unit moved to R_e: a o b = a R_e' b. A Group, isomorphic to the plain one by R -> R R_e'.

    Attributes:
        unit: (N, N), a rotation.
    """

    unit: Float[Tensor, "N N"]

    def compose(self, z_ab: Float[Tensor, "*B N N"], z_bc: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
        """R_ab R_e' R_bc (001, Eq. 10, in the gauge of Eq. 9)."""
        return rotation.compose(rotation.compose(z_ab, rotation.inverse(self._unit(z_ab))), z_bc)

    def inverse(self, z_ab: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
        """R_e R_ab' R_e."""
        unit = self._unit(z_ab)
        return rotation.compose(rotation.compose(unit, rotation.inverse(z_ab)), unit)

    def identity(self, like: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
        """R_e."""
        return self._unit(like).expand_as(like)

    def _unit(self, z: Tensor) -> Tensor:
        return self.unit.to(torch.float64 if z.dtype == torch.float64 else torch.float32)
