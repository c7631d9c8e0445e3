"""The discrete latent action: what leaves the model is the code, not the continuous z before the quantiser.

LAPA and UniVLA label videos this way; RotVLA's ablation calls it "Discrete" (001, section 4.5) and blames the small
number of codes. Training is that of the continuous model, whose commitment pulls z to its code; only `export` differs.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.latents.codes import CodeSpace
from lara.types import LatentAction


class CodedActionModel(LatentActionModel):
    """Over a space with a codebook (VQ, SimVQ, Moto's VQ), or one that quantises by such (AdditiveSpace).

    Raises ConfigError for others: a code must be its own code, so that decoding quantises it to itself. FSQ's maps into
    its channels and out again do not grant that, and a SoftVQ has no codes to choose.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._codes()

    def export(self, tokens_BFPE: Float[Tensor, "B F P E"]) -> LatentAction:
        """The code nearest to the continuous latent, query by query; no gradient flows back through it."""
        codes = self._codes()
        return LatentAction(z_BQD=codes.lookup(codes.encode(self.latent(tokens_BFPE).z_BQD)))

    def _codes(self) -> CodeSpace:
        coder: CodeSpace | None = self.space.coder()
        if coder is not None and coder.fixed_points:
            return coder
        raise ConfigError(
            f"a discrete latent needs a codebook; {type(self.space).__name__} has none whose codes are their own "
            "codes; set latent to vq or simvq, or give the additive space its quantizer"
        )
