"""LatBot's encoder: a vision-language model tells apart what the scene did and what the robot did (002, Eq. 1, 6.2).

    {Z_sce, Z_mot} = f_vlm(V_{t:t+k}, instruction), read at the tokens [CP_SCE] and [CP_MOT] of the paper's template

What the paper leaves open, and what is done here: each of the two tokens is one entry of the vocabulary, written
`scene` (`motion`) times in the template, so that repetitions differ by their place alone; all frames go in as images,
in order, before the question; a model with a chat template gets the question as the user's turn and the rest as the
assistant's; the states of `layer` are mapped linearly to the latent's width.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.huggingface import MOTION, SCENE, add_tokens, load_image_text_model, states_at

# 002, section 6.2, word for word
QUESTION = (
    "Given the instruction “{instruction}” and the video frames, reason about what happens within this time span. "
    "Explain how the overall scene changes, and identify the temporal dependencies between consecutive frames. "
    "Highlight the actions, interactions, and transitions that drive the scene’s evolution."
)
ANSWER = "Scene evolution description: {scene}. Action dynamics description: {motion}."


class VLMFormer(nn.Module):
    """Frames and instruction -> raw latent (B, scene + motion, dim), the scene's tokens first.

    It reads pixels and words itself, so it stands for encoder and former at once.

    path:              a local folder or a hub name of any image-text model. revision: commit to pin.
    scene, motion:     how many tokens of each kind. dim: width of the latent.
    layer:             hidden states after this many decoder layers (-1 = the last).
    trust_remote_code: run code that comes with the model. Off unless you say so, and then only at a pinned revision.
    dtype:             of the weights, e.g. "bfloat16".

    All weights learn except the vision encoder's, which is frozen and in eval mode (002, section 6.3).
    Raises ConfigError for a model without a vision encoder, CheckpointError where nothing can be loaded.
    """

    buildable: ClassVar[str] = "model"

    processor: Any
    model: Any

    def __init__(
        self,
        *,
        path: str,
        dim: int,
        scene: int = 64,
        motion: int = 64,
        layer: int = -1,
        revision: str | None = None,
        trust_remote_code: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        if scene < 1 or motion < 1:
            raise ConfigError(f"at least one scene and one motion token are needed, got {scene} and {motion}")
        self.scene, self.motion, self.dim, self.layer = scene, motion, dim, layer
        self.processor, model = load_image_text_model(
            path=path,
            revision=revision,
            trust_remote_code=trust_remote_code,
            dtype=dtype,
            feature="A vision-language latent encoder",
        )
        self.scene_id, self.motion_id = add_tokens(self.processor, model, (SCENE, MOTION))
        # the language head would turn hidden states into vocabulary logits that nobody reads
        self.model = model.model if hasattr(model, "model") else model
        vision = self.model.get_encoder(modality="image")
        if vision is self.model:
            raise ConfigError(f"no vision encoder was found in '{path}' ({type(model).__name__}); it must be frozen")
        vision.requires_grad_(False)
        self.down = nn.Linear(model.config.get_text_config().hidden_size, dim)

    @property
    def queries(self) -> int:
        return self.scene + self.motion

    def train(self, mode: bool = True) -> VLMFormer:
        super().train(mode)
        self.model.get_encoder(modality="image").eval()
        return self

    def forward(self, frames_BFCHW: UInt8[Tensor, "B F C h w"], instruction: tuple[str, ...]) -> Float[Tensor, "B Q D"]:
        """instruction: one string per sample."""
        if len(instruction) != len(frames_BFCHW):
            raise ConfigError(f"{len(frames_BFCHW)} samples need as many instructions, got {len(instruction)}")
        if frames_BFCHW.device.type == "meta":
            # described, not run (lara show): these models ask for values that a meta tensor does not have
            shape: Tensor = self.down(torch.zeros(len(instruction), self.queries, self.down.in_features, device="meta"))
            return shape
        inputs = self.process(frames_BFCHW, instruction).to(frames_BFCHW.device)
        out = self.model(**inputs, output_hidden_states=True, use_cache=False)
        states_BTE = out.hidden_states[self.layer].to(self.down.weight.dtype)
        ids_BT = inputs["input_ids"]
        read = [
            states_at(states_BTE, ids_BT, *which)
            for which in ((self.scene_id, self.scene), (self.motion_id, self.motion))
        ]
        latents: Tensor = self.down(torch.cat(read, dim=1))
        return latents

    def process(self, frames_BFCHW: UInt8[Tensor, "B F C h w"], instruction: tuple[str, ...]) -> Any:
        """The model's own processor on F images and the filled template per sample; text is padded, and masked."""
        images = [list(frames) for frames in frames_BFCHW.cpu()]
        text = [self.prompt(words, frames_BFCHW.shape[1]) for words in instruction]
        return self.processor(images=images, text=text, return_tensors="pt", padding=True)

    def prompt(self, instruction: str, frames: int) -> str:
        """The template for one sample, with a place for every frame."""
        question = QUESTION.format(instruction=instruction)
        answer = ANSWER.format(scene=SCENE * self.scene, motion=MOTION * self.motion)
        if getattr(self.processor, "chat_template", None):
            images = [{"type": "image"}] * frames
            turns = [
                {"role": "user", "content": [*images, {"type": "text", "text": question}]},
                {"role": "assistant", "content": [{"type": "text", "text": answer}]},
            ]
            chat: str = self.processor.apply_chat_template(turns, add_generation_prompt=False)
            return chat
        return f"{getattr(self.processor, 'image_token', '<image>') * frames}{question} Answer: {answer}"
