"""SimVQ: the codes are one learned linear map of a frozen random codebook (Zhu et al. 2024, arXiv 2411.02038).

Every update moves all codes, so none is left behind.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lara.latents.codes import CodeSpace
from lara.latents.space import Bottleneck, LatentSpace
from lara.losses import quantization
from lara.ops.precision import full_precision
from lara.ops.quantize import nearest_code, rotate_to, straight_through


class SimVQSpace(LatentSpace):
    """K codes of D dims. Learned by gradient alone: no moving average, no revival.

    Args:
        rotation_trick: pass gradients by rotation (Fifty et al. 2024) instead of straight through.
    """

    buildable: ClassVar[str] = "model"
    fixed_points = True

    def __init__(self, *, dim: int = 32, codes: int = 128, rotation_trick: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.codes = codes
        self.rotation_trick = rotation_trick
        self.quantizer = MappedCodebook(dim=dim, codes=codes)

    def default_weights(self) -> dict[str, float]:
        """The paper's."""
        return {"commitment": 0.25, "codebook": 1.0}

    def coder(self) -> CodeSpace:
        return self

    def bottleneck(self, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """Nearest code of each query, and the two VQ-VAE losses; the codebook's reaches the map alone."""
        with full_precision(z_BQD):
            z = torch.where(mask_B[:, None, None], z_BQD.float(), 0.0)
            codebook_KD = self.codebook
            indices_BQ = nearest_code(z, codebook_KD)
            code = codebook_KD[indices_BQ]
            out = rotate_to(z, code.detach()) if self.rotation_trick else straight_through(z, code)
            terms = {
                "commitment": quantization.commitment(z, code, mask_B),
                "codebook": quantization.codebook(z, code, mask_B),
            }
            return Bottleneck(out.to(z_BQD.dtype), terms, quantization.code_usage(indices_BQ, mask_B, self.codes))

    @torch.no_grad()
    def encode(self, z_BQD: Float[Tensor, "B Q D"]) -> Int[Tensor, "B Q"]:
        """Index of the nearest code of each query."""
        with full_precision(z_BQD):
            return nearest_code(z_BQD.float(), self.codebook)

    def lookup(self, indices_BQ: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        return self.codebook[indices_BQ]

    @property
    def codebook(self) -> Float[Tensor, "K D"]:
        return self.quantizer.codebook


class MappedCodebook(nn.Module):
    """codebook = code_transform(frozen_codebook): K x D from a normal distribution, scaled to length about 1, and a
    learned linear map without bias (Zhu et al. 2024, section 4)."""

    frozen_codebook: Tensor

    def __init__(self, *, dim: int, codes: int) -> None:
        super().__init__()
        frozen = torch.randn(codes, dim) * dim**-0.5
        self.code_transform = nn.Linear(dim, dim, bias=False)
        self.register_buffer("frozen_codebook", frozen)

    @property
    def codebook(self) -> Float[Tensor, "K D"]:
        codes: Tensor = self.code_transform(self.frozen_codebook)
        return codes
