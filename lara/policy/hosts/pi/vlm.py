"""PaliGemma and the Gemma action expert beside it, in the tree and under the names of openpi's and lerobot's pi0."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lara.nn.siglip import SiglipEncoder
from lara.policy.hosts.shared.decoder import AdaptiveNorm, Decoder, GemmaNorm, Layer
from lara.policy.hosts.shared.prefix import freeze_unread


class PaliGemmaWithExpert(nn.Module):
    """Both stacks have the same layers, heads, key heads and head_dim, because they share one attention.

    vision: of the image encoder. width, mlp, vocabulary: of the image-text model. expert_width, expert_mlp: of the
    action expert. adaptive: the expert's norms are conditioned on the flow time (pi0.5).
    """

    def __init__(
        self,
        *,
        vision: SiglipEncoder,
        width: int,
        mlp: int,
        vocabulary: int,
        expert_width: int,
        expert_mlp: int,
        layers: int,
        heads: int,
        key_heads: int,
        head_dim: int,
        adaptive: bool,
    ) -> None:
        super().__init__()
        sizes = {"heads": heads, "key_heads": key_heads, "head_dim": head_dim}
        self.paligemma = _Holder(_PaliGemma(vision, _gemma(width, mlp, layers, GemmaNorm, sizes, vocabulary)))
        norm: Callable[[int], nn.Module] = AdaptiveNorm if adaptive else GemmaNorm
        self.gemma_expert = _Holder(_gemma(expert_width, expert_mlp, layers, norm, sizes, None))
        freeze_unread(self.language)

    @property
    def language(self) -> Decoder:
        decoder: Decoder = self.paligemma.model.language_model
        return decoder

    @property
    def expert(self) -> Decoder:
        decoder: Decoder = self.gemma_expert.model
        return decoder

    def encode_image(self, pixels_BCHW: Float[Tensor, "B 3 height width"]) -> Float[Tensor, "B P E"]:
        """The image tokens of one camera. Not scaled, unlike words: pi0's own choice."""
        tokens: Tensor = self.paligemma.model.encode_image(pixels_BCHW)
        return tokens


class _Holder(nn.Module):
    """A level of the vendor's tree that holds one model and does nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model


class _PaliGemma(nn.Module):
    def __init__(self, vision: SiglipEncoder, language: Decoder) -> None:
        super().__init__()
        self.vision_tower = _VisionTower(vision)
        self.multi_modal_projector = _Projector(vision.width, language.width)
        self.language_model = language

    def encode_image(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.multi_modal_projector.linear(self.vision_tower.vision_model(pixels))
        return tokens


class _VisionTower(nn.Module):
    def __init__(self, vision: SiglipEncoder) -> None:
        super().__init__()
        self.vision_model = vision


class _Projector(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)


def _gemma(
    width: int, mlp: int, layers: int, norm: Callable[[int], nn.Module], sizes: dict[str, int], vocabulary: int | None
) -> Decoder:
    activation = partial(F.gelu, approximate="tanh")
    return Decoder(
        width=width,
        layers=layers,
        layer=lambda k: Layer(width=width, mlp=mlp, norm=norm, activation=activation, **sizes),
        norm=norm,
        vocabulary=vocabulary,
    )
