"""Vector-quantised latents: R^D with K codes, shared by all Q queries (LARA, 003 section A.1; Moto-GPT).

The continuous z before the quantiser is the latent action (it is what LARA aligns); the quantiser only stands between
encoder and decoder. The codebook follows the data by exponential moving average, or by gradient when `gradient` is
set; codes that nothing uses are moved onto samples of the current batch.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor

from lara.latents.codes import CodeSpace
from lara.latents.space import Bottleneck, LatentSpace
from lara.losses.quantization import code_usage, codebook, commitment
from lara.nn.vector_quantize import VectorQuantizer
from lara.ops.precision import full_precision
from lara.ops.quantize import nearest_code

DEAD_BELOW = 1e-2  # moving average of samples per batch below which nothing has used a code for long


class VQSpace(LatentSpace):
    """K codes of D dims.

    Args:
        decay: of the moving average that moves the codes.
        revive_below: codes whose average use falls below this are re-seeded from the batch (0 = never).
        gradient: learn the codebook by gradient ("codebook" term) instead of by moving average.
        rotation_trick: pass gradients by rotation (Fifty et al. 2024) instead of straight through.
    """

    buildable: ClassVar[str] = "model"
    fixed_points = True

    def __init__(
        self,
        *,
        dim: int = 32,
        codes: int = 128,
        decay: float = 0.99,
        revive_below: float = 1.0,
        gradient: bool = False,
        rotation_trick: bool = False,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.codes = codes
        self.gradient = gradient
        self.quantizer = VectorQuantizer(
            dim=dim,
            codes=codes,
            decay=decay,
            revive_below=revive_below,
            gradient=gradient,
            rotation_trick=rotation_trick,
        )

    def default_weights(self) -> dict[str, float]:
        """Of LARA's recipe (003, Eq. 3, with VQ-VAE's beta): the codebook term, where there is one, weighs 1."""
        return {"commitment": 0.25} | ({"codebook": 1.0} if self.gradient else {})

    def coder(self) -> CodeSpace:
        return self

    def bottleneck(self, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """Nearest code of each query (straight-through gradient), VQ-VAE losses, and the codebook's health.

        commitment = mean |z - sg(code)|^2 (van den Oord et al. 2017, Eq. 3, third term)
        codebook   = mean |sg(z) - code|^2 (second term; gradient codebooks only)
        """
        mask_BQ = mask_B[:, None].expand(z_BQD.shape[:2])
        quantised, index_BQ = self.quantizer(z_BQD, mask_BQ)
        with full_precision(z_BQD):
            z = z_BQD.float()
            code = self.lookup(index_BQ)
            terms = {"commitment": commitment(z, code, mask_B)}
            if self.gradient:
                terms["codebook"] = codebook(z, code, mask_B)
            usage = code_usage(index_BQ, mask_B, self.codes)
            dead = (self.quantizer.usage < DEAD_BELOW).sum().float()
            return Bottleneck(quantised.to(z_BQD.dtype), terms, {**usage, "dead_codes": dead})

    def encode(self, z_BQD: Float[Tensor, "B Q D"]) -> Int[Tensor, "B Q"]:
        """Index of the nearest code of each query."""
        with full_precision(z_BQD):
            return nearest_code(z_BQD.float(), self.codebook)

    def lookup(self, indices_BQ: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        return self.codebook[indices_BQ]

    @property
    def codebook(self) -> Float[Tensor, "K D"]:
        return self.quantizer.codebook
