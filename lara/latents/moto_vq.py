"""The quantiser of the released Moto and LARA checkpoints (taming-transformers' VectorQuantizer2), for loading them.

For training from scratch VQSpace is the better one: here nothing revives a code that is out of use.
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
from lara.ops.quantize import nearest_code, straight_through


class MotoVQSpace(LatentSpace):
    """K codes of D dims in `embedding.weight` (the release's key), from U(-1/K, 1/K), learned by gradient.

    Args:
        beta: on the CODEBOOK term. VQ-VAE (Eq. 3) puts it on the commitment; the released code calls its own order
            "legacy" and trained with it.
    """

    buildable: ClassVar[str] = "model"
    fixed_points = True

    def __init__(self, *, dim: int = 32, codes: int = 128, beta: float = 0.25) -> None:
        super().__init__()
        self.dim = dim
        self.codes = codes
        self.beta = beta
        self.embedding = nn.Embedding(codes, dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / codes, 1.0 / codes)

    def default_weights(self) -> dict[str, float]:
        """The release's."""
        return {"quantization": 1.0}

    def coder(self) -> CodeSpace:
        return self

    def bottleneck(self, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """Nearest code of each query, straight through.

        quantization = mean |z - sg(code)|^2 + beta * mean |sg(z) - code|^2.
        One term, not two, because the release knows one weight for it.
        """
        with full_precision(z_BQD):
            z = torch.where(mask_B[:, None, None], z_BQD.float(), 0.0)
            indices_BQ = self.encode(z)
            code = self.embedding(indices_BQ)
            loss = quantization.commitment(z, code, mask_B) + self.beta * quantization.codebook(z, code, mask_B)
            out = straight_through(z, code)
            metrics = quantization.code_usage(indices_BQ, mask_B, self.codes)
            return Bottleneck(out.to(z_BQD.dtype), {"quantization": loss}, metrics)

    @torch.no_grad()
    def encode(self, z_BQD: Float[Tensor, "B Q D"]) -> Int[Tensor, "B Q"]:
        """Index of the nearest code of each query."""
        with full_precision(z_BQD):
            return nearest_code(z_BQD.float(), self.codebook)

    def lookup(self, indices_BQ: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        return self.codebook[indices_BQ]

    @property
    def codebook(self) -> Float[Tensor, "K D"]:
        return self.embedding.weight
