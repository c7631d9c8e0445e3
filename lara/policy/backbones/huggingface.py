"""Any Hugging Face image-text model as the policy's eyes and reader (Eagle-2 in LARA, PaliGemma in pi0, ...).

The model is used as an encoder: images and instruction go through its own processor, the hidden states of one layer
come out. Frozen by default; the trainable adapter sits behind it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from lara.errors import ConfigError
from lara.nn.huggingface import load_image_text_model
from lara.policy.backbone import Tokens
from lara.types import Observation


class HuggingFaceBackbone(nn.Module):
    """path: a local folder or a hub name. revision: commit to pin (needed with trust_remote_code).

    layer:             hidden states after this many decoder layers (-1 = the last); GR00T-N1.5 stops at 12.
    frozen:            no gradient, always in eval mode.
    trust_remote_code: run code that comes with the model. Off unless you say so, and then only at a pinned revision.
    dtype:             of the frozen weights, e.g. "bfloat16".
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        path: str,
        revision: str | None = None,
        layer: int = -1,
        frozen: bool = True,
        trust_remote_code: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.processor, model = load_image_text_model(
            path=path,
            revision=revision,
            trust_remote_code=trust_remote_code,
            dtype=dtype,
            feature="A Hugging Face backbone",
        )
        # the language head would turn hidden states into vocabulary logits that nobody reads
        self.model = model.model if hasattr(model, "model") else model
        self.layer = layer
        self.frozen = frozen
        self.width = model.config.get_text_config().hidden_size
        if frozen:
            self.requires_grad_(False)

    def train(self, mode: bool = True) -> HuggingFaceBackbone:
        return super().train(mode and not self.frozen)

    def forward(self, observation: Observation) -> Tokens:
        inputs = self.process(observation).to(observation.state_BS.device)
        if observation.state_BS.device.type == "meta":
            # described, not run (lara show): these models ask for values that a meta tensor does not have
            tokens = torch.zeros(*inputs["input_ids"].shape, self.width, device="meta")
            return Tokens(tokens, torch.ones_like(inputs["attention_mask"], dtype=torch.bool))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            out = self.model(**inputs, output_hidden_states=True, use_cache=False)
        return Tokens(out.hidden_states[self.layer].to(observation.state_BS.dtype), inputs["attention_mask"].bool())

    def process(self, observation: Observation) -> Any:
        """The model's own processor on V images and one instruction per sample; text is padded, and masked."""
        images = [list(views) for views in observation.images_BVCHW.cpu()]
        if not images or not images[0]:
            raise ConfigError("an image-text backbone needs at least one camera; set data.cameras")
        if getattr(self.processor, "chat_template", None):
            text = [self._chat(instruction, len(images[0])) for instruction in observation.instruction]
        else:
            text = [
                getattr(self.processor, "image_token", "<image>") * len(images[0]) + instruction
                for instruction in observation.instruction
            ]
        return self.processor(images=images, text=text, return_tensors="pt", padding=True)

    def _chat(self, instruction: str, views: int) -> str:
        content = [{"type": "image"}] * views + [{"type": "text", "text": instruction}]
        chat: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=False
        )
        return chat
