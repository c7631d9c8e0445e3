"""SmolVLM2 and the Llama action expert beside it, in the tree and under the names of lerobot's SmolVLA."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.siglip import SiglipEncoder
from lara.policy.hosts.shared.decoder import Decoder, Layer, LlamaNorm
from lara.policy.hosts.shared.prefix import freeze_unread


class SmolVLMWithExpert(nn.Module):
    """Two stacks with the same layers, heads, key heads and head_dim.

    Every `self_every`-th layer of the expert (0, self_every, ...) shares the image-text model's attention; the others
    only look at its keys and values, through key and value projections of their own.
    """

    def __init__(
        self,
        *,
        vision: SiglipEncoder,
        shuffle: int,
        width: int,
        mlp: int,
        vocabulary: int,
        expert_width: int,
        expert_mlp: int,
        layers: int,
        heads: int,
        key_heads: int,
        head_dim: int,
        self_every: int,
        eps: float,
    ) -> None:
        super().__init__()
        if self_every < 1:
            raise ConfigError(f"self_every counts layers from one shared attention to the next, got {self_every}")
        self.self_every = self_every
        norm = partial(LlamaNorm, eps=eps)
        layer = partial(Layer, heads=heads, key_heads=key_heads, head_dim=head_dim, norm=norm, activation=F.silu)

        def text_layer(k: int) -> Layer:
            return layer(width=width, mlp=mlp)

        def expert_layer(k: int) -> Layer:
            inputs = None if self.shares_attention(k) else key_heads * head_dim
            return layer(width=expert_width, mlp=expert_mlp, key_inputs=inputs)

        text = Decoder(width=width, layers=layers, layer=text_layer, norm=norm, vocabulary=vocabulary)
        self.vlm = _Holder(_SmolVLM(vision, shuffle, text))
        self.lm_expert = Decoder(width=expert_width, layers=layers, layer=expert_layer, norm=norm)
        freeze_unread(text)

    @property
    def language(self) -> Decoder:
        return self.vlm.model.text_model

    @property
    def expert(self) -> Decoder:
        return self.lm_expert

    def shares_attention(self, k: int) -> bool:
        """Whether layer k (from 0) is a shared one."""
        return k % self.self_every == 0

    def encode_image(self, pixels_BCHW: Float[Tensor, "B 3 height width"]) -> Float[Tensor, "B P E"]:
        """The image tokens of one camera, scaled like words (SmolVLA's own choice)."""
        x = self.vlm.model.connector(self.vlm.model.vision_model(pixels_BCHW))
        tokens: Tensor = x * self.language.width**0.5
        return tokens


class _Holder(nn.Module):
    def __init__(self, model: _SmolVLM) -> None:
        super().__init__()
        self.model = model


class _SmolVLM(nn.Module):
    def __init__(self, vision: SiglipEncoder, shuffle: int, text: Decoder) -> None:
        super().__init__()
        self.vision_model = vision
        self.connector = _Connector(vision, shuffle, text.width)
        self.text_model = text


class _Connector(nn.Module):
    """Squares of shuffle x shuffle patches become one token: their features side by side, projected."""

    def __init__(self, vision: SiglipEncoder, shuffle: int, width: int) -> None:
        super().__init__()
        self.shuffle, self.side = shuffle, round(vision.tokens**0.5)
        if self.side % shuffle:
            raise ConfigError(f"{self.side} patches per side cannot be grouped by shuffle={shuffle}")
        self.modality_projection = _Projection(shuffle**2 * vision.width, width)

    def forward(self, x: Tensor) -> Tensor:
        near = rearrange(
            x, "b (h s1 w s2) e -> b (h w) (s1 s2 e)", h=self.side // self.shuffle, s1=self.shuffle, s2=self.shuffle
        )
        tokens: Tensor = self.modality_projection.proj(near)
        return tokens


class _Projection(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs, bias=False)
