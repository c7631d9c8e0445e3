"""The Eagle backbones of GR00T N1.5 and N1.6: models whose code comes with them, run only when you say so.

N1.5's parameters are named eagle_model.* (and eagle_linear.*), N1.6's model.*. The features are the hidden states after
`select_layer` decoder layers and the language model's final norm: what transformers 4.51 to 4.57, for which the
checkpoints were made, return as the last hidden state of such a shortened Qwen3.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from lara.errors import CheckpointError, ConfigError, missing_extra
from lara.nn.huggingface import require_pinned_code
from lara.policy.hosts.groot.images import crop_and_resize
from lara.policy.hosts.groot.prompt import formulate
from lara.policy.hosts.groot.vlm import VLTokens
from lara.types import Observation


class EagleBackbone(nn.Module):
    """path: a folder or hub name with config.json, the model's and the processor's code and the tokenizer's files.
    revision: a 40-digit commit. trust_remote_code: must be true, since the code is theirs; read it first, then give
    the flag --trust-remote-code too.

    named:      "eagle_model" (N1.5) or "model" (N1.6), the vendor's name of the model.
    project_to: N1.5's optional linear layer behind the model; None in the public checkpoint.
    image_first, generation_prompt, language: the prompt's form (N1.5: true, true, "list"; N1.6: false, false,
    "formal").
    images:     arguments for the image processor (N1.5: one tile, no thumbnail). edge, crop: images.crop_and_resize.
    learn_*:    as in qwen.QwenBackbone.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        path: str,
        revision: str | None,
        trust_remote_code: bool,
        select_layer: int,
        named: str,
        project_to: int | None = None,
        image_first: bool = True,
        generation_prompt: bool = True,
        language: str = "list",
        images: dict[str, Any] | None = None,
        edge: int | None = None,
        crop: float = 1.0,
        learn_language: bool = False,
        learn_vision: bool = False,
        learn_top_layers: int = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        if not trust_remote_code:
            raise ConfigError(
                f"the Eagle model at '{path}' is code that comes with it. Read that code, then set "
                "policy.backbone.trust_remote_code=true and policy.backbone.revision=<40-digit commit hash>, and add "
                "the flag --trust-remote-code"
            )
        require_pinned_code(trust_remote_code, revision)
        if named not in ("eagle_model", "model"):
            raise ConfigError(f"the vendor names it eagle_model (N1.5) or model (N1.6), got {named!r}")
        self.processor, model = _load(path, revision, trust_remote_code, dtype)
        layers = model.language_model.model.layers
        if not 1 <= select_layer <= len(layers):
            raise ConfigError(f"select_layer lies in 1..{len(layers)}, got {select_layer}")
        del layers[select_layer:]
        self.named = named
        self.add_module(named, model)
        self.image_token: int = model.config.image_token_index
        width: int = model.language_model.config.hidden_size
        self.eagle_linear = nn.Linear(width, project_to) if project_to is not None else None
        self.width = project_to or width
        self.image_first, self.generation_prompt, self.language = image_first, generation_prompt, language
        self.images, self.edge, self.crop = dict(images or {}), edge, crop
        model.requires_grad_(False)
        learning = [model.language_model] if learn_language else []
        learning += [model.vision_model, model.mlp1] if learn_vision else []
        learning += list(layers[-learn_top_layers:]) if learn_top_layers else []
        for module in learning:
            module.requires_grad_(True)

    def forward(self, observation: Observation) -> VLTokens:
        device, dtype = observation.state_BS.device, observation.state_BS.dtype
        inputs = {k: v.to(device) for k, v in self.process(observation).items()}
        ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        if device.type == "meta":
            # described, not run (lara show)
            x = torch.zeros(*ids.shape, self.width, device="meta")
            return VLTokens(x, mask.to("meta"), mask.to("meta"))
        model = self.get_submodule(self.named)
        with torch.set_grad_enabled(torch.is_grad_enabled() and any(p.requires_grad for p in model.parameters())):
            x = model(**inputs, output_hidden_states=True).hidden_states[-1]
        x = x.to(dtype) if self.eagle_linear is None else self.eagle_linear(x.to(dtype))
        return VLTokens(x, mask, ids == self.image_token)

    def process(self, observation: Observation) -> dict[str, torch.Tensor]:
        """input_ids, attention_mask (B, J), padded on the left, and pixel_values of all images."""
        views = observation.images_BVCHW.shape[1]
        if not views:
            raise ConfigError("GR00T needs at least one camera; set data.cameras")
        pixels = crop_and_resize(observation.images_BVCHW.flatten(0, 1).cpu(), edge=self.edge, crop=self.crop)
        pictures = [self._picture(image) for image in pixels]
        chats = []
        for b, instruction in enumerate(observation.instruction):
            shown = [{"type": "image", "image": p} for p in pictures[b * views : (b + 1) * views]]
            said = [{"type": "text", "text": formulate(instruction, self.language)}]
            chats.append([{"role": "user", "content": shown + said if self.image_first else said + shown}])
        texts = [
            self.processor.apply_chat_template(c, tokenize=False, add_generation_prompt=self.generation_prompt)
            for c in chats
        ]
        options = {"images_kwargs": self.images} if self.images else {}
        inputs = self.processor(text=texts, images=pictures, return_tensors="pt", padding=True, **options)
        return {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}

    @staticmethod
    def _picture(image: torch.Tensor) -> Any:
        from PIL import Image

        return Image.fromarray(image.permute(1, 2, 0).numpy())


def _load(path: str, revision: str | None, trust_remote_code: bool, dtype: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoConfig, AutoModel, AutoProcessor
    except ImportError as error:
        raise missing_extra("transformers", "vlm", "GR00T's Eagle backbone") from error
    source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(path, **source)
        processor = AutoProcessor.from_pretrained(path, **source)
        # the weights are in GR00T's own checkpoint
        model: Any = AutoModel.from_config(config, trust_remote_code=trust_remote_code, dtype=getattr(torch, dtype))
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(
            f"no Eagle model could be made from '{path}' (revision {revision}): {error}\n"
            "Give a folder with config.json, the modelling and processing code and tokenizer files (in Isaac-GR00T: "
            "gr00t/model/backbone/eagle2_hg_model for N1.5, gr00t/model/modules/nvidia/Eagle-Block2A-2B-v2 for N1.6). "
            "The code may need an older transformers than this one."
        ) from error
    processor.tokenizer.padding_side = "left"
    return processor, model
