"""GR00T N1.7's backbone: the first layers of a Qwen3-VL (Cosmos-Reason2) model, before its final norm.

Parameter names below `backbone.` are the vendor's: model.model.{visual, language_model}. The language head is left out,
since nobody reads its logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lara.errors import ConfigError, missing_extra
from lara.policy.hosts.groot.vlm import VLTokens
from lara.types import Observation


class UnusedNorm(nn.Module):
    """Keeps the final norm's weight under its name without applying it: N1.7's head was trained on what comes before.

    The layers above `select_layer` are gone, so the norm would follow a layer that it was never trained with.
    """

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x


class QwenBackbone(nn.Module):
    """processor: a `prompt.QwenProcessor`. text, vision: the fields of transformers' Qwen3VLTextConfig and
    Qwen3VLVisionConfig (sizes; random weights, which a GR00T checkpoint fills). image_token: the id that stands for a
    piece of an image.

    select_layer: decoder layers kept. learn_language, learn_vision, learn_top_layers: what may learn when the stage
    lets the backbone learn (vendor: nothing; N1.6: the 4 top layers); the rest stays frozen.
    dtype: of the weights, e.g. "bfloat16". Raises ConfigError where transformers refuses the sizes.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        processor: Any,
        text: Mapping[str, Any],
        vision: Mapping[str, Any],
        select_layer: int,
        image_token: int,
        video_token: int,
        vision_start_token: int,
        vision_end_token: int,
        learn_language: bool = False,
        learn_vision: bool = False,
        learn_top_layers: int = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        try:
            from transformers import Qwen3VLConfig
            from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel
        except ImportError as error:
            raise missing_extra("transformers", "vlm", "GR00T's Qwen3-VL backbone") from error
        if not 1 <= select_layer <= text["num_hidden_layers"]:
            raise ConfigError(f"select_layer lies in 1..{text['num_hidden_layers']}, got {select_layer}")
        self.processor, self.image_token = processor, image_token
        config = Qwen3VLConfig(
            text_config={**text, "num_hidden_layers": select_layer},
            vision_config=dict(vision),
            image_token_id=image_token,
            video_token_id=video_token,
            vision_start_token_id=vision_start_token,
            vision_end_token_id=vision_end_token,
        )
        model: Any = Qwen3VLModel(config)
        model.language_model.norm = UnusedNorm(model.language_model.norm.weight)
        self.model = nn.ModuleDict({"model": model.to(getattr(torch, dtype))})
        self.width: int = text["hidden_size"]
        self.requires_grad_(False)
        learning = [model.language_model.layers, model.language_model.embed_tokens] if learn_language else []
        learning += [model.visual] if learn_vision else []
        learning += list(model.language_model.layers[-learn_top_layers:]) if learn_top_layers else []
        for module in learning:
            module.requires_grad_(True)

    def forward(self, observation: Observation) -> VLTokens:
        inputs = self.processor(observation.images_BVCHW, observation.instruction)
        ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        if observation.state_BS.device.type == "meta":
            # described, not run (lara show): this model asks for values that a meta tensor does not have
            x = torch.zeros(*ids.shape, self.width, device="meta")
            return VLTokens(x, mask.to("meta"), mask.to("meta"))
        with torch.set_grad_enabled(torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())):
            out = self.model["model"](**inputs, use_cache=False).last_hidden_state
        return VLTokens(out.to(observation.state_BS.dtype), mask, ids == self.image_token)
