"""Additive latents: R^D with vector addition (ALAM 004, sections 3.1-3.2).

What happens from a to c is what happens from a to b plus what happens from b to c; going back changes the sign.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lara.errors import ConfigError
from lara.latents.codes import CodeSpace
from lara.latents.groups import Group
from lara.latents.space import Bottleneck, LatentSpace
from lara.latents.vq import VQSpace


class AdditiveSpace(LatentSpace):
    """Q queries of R^dim, added query by query.

    Args:
        dim: D. The paper's is 128.
        quantizer: a VQSpace of the same dim between z and the decoder, in pretraining only (the paper's has 7 codes
            moved by EMA); None decodes z itself. Laws, alignment and export are on the continuous z (Eqs. 7 and 10).
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, *, dim: int = 128, quantizer: VQSpace | None = None) -> None:
        super().__init__()
        if quantizer is not None and quantizer.dim != dim:
            raise ConfigError(f"the quantizer's codes must have the space's dims, {dim}, got {quantizer.dim}")
        self.dim = dim
        self.quantizer = quantizer

    def default_weights(self) -> dict[str, float]:
        return {} if self.quantizer is None else self.quantizer.default_weights()

    def coder(self) -> CodeSpace | None:
        return self.quantizer

    def group(self) -> Group:
        return self

    def bottleneck(self, z_BQD: Float[Tensor, "B Q D"], mask_B: Bool[Tensor, " B"]) -> Bottleneck:
        """The quantizer's codes and losses (Eq. 5), or z as it is."""
        return Bottleneck(z_BQD, {}, {}) if self.quantizer is None else self.quantizer.bottleneck(z_BQD, mask_B)

    def compose(self, z_ab: Float[Tensor, "*B Q D"], z_bc: Float[Tensor, "*B Q D"]) -> Float[Tensor, "*B Q D"]:
        return z_ab + z_bc

    def inverse(self, z_ab: Float[Tensor, "*B Q D"]) -> Float[Tensor, "*B Q D"]:
        return -z_ab

    def identity(self, like: Float[Tensor, "*B Q D"]) -> Float[Tensor, "*B Q D"]:
        return torch.zeros_like(like)
