"""LatBot's student: any Hugging Face image-text model that foretells latents and keeps writing (002, section 3.3).

    images, "Given the instruction ..., ... [CP_SCE].. [CP_MOT].."     ->  latents, read at these tokens
    images, "Given the instruction ..." + subtask text                 ->  next-token loss on the text alone

What the paper leaves open, and what is done here: the student's prompt (the teacher's, without its frames); the two
ways are two passes, so that neither the latents see the text nor the text the latent tokens.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.nn.huggingface import MOTION, SCENE, add_tokens, load_image_text_model, states_at
from lara.policy.backbone import Tokens
from lara.policy.student import PredictedLatents
from lara.types import Observation

QUESTION = "Given the instruction “{instruction}” and the current frame, describe what will happen."
ANSWER = "Scene evolution description: {scene}. Action dynamics description: {motion}."


class HuggingFaceStudent(nn.Module):
    """path, revision, trust_remote_code, layer, dtype: as in `HuggingFaceBackbone`. scene, motion, dim: of the
    teacher's latent. Everything learns ("we jointly fine-tune all parameters of the student", section 6.3).

    Called with an observation: the hidden states of the first prompt, and behind them the predicted latents mapped to
    the model's width.
    Raises ConfigError for no camera or a prompt that the processor cut, CheckpointError where nothing can be loaded.
    """

    buildable: ClassVar[str] = "model"

    processor: Any
    model: Any
    frozen = False

    def __init__(
        self,
        *,
        path: str,
        dim: int,
        scene: int,
        motion: int,
        revision: str | None = None,
        layer: int = -1,
        frozen: bool = False,
        trust_remote_code: bool = False,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        if frozen:
            raise ConfigError("a student learns; for a frozen backbone take HuggingFaceBackbone (frozen=false here)")
        if scene < 1 or motion < 1:
            raise ConfigError(f"at least one scene and one motion token are needed, got {scene} and {motion}")
        self.scene, self.motion, self.layer = scene, motion, layer
        self.processor, self.model = load_image_text_model(
            path=path,
            revision=revision,
            trust_remote_code=trust_remote_code,
            dtype=dtype,
            feature="A Hugging Face student",
        )
        self.scene_id, self.motion_id = add_tokens(self.processor, self.model, (SCENE, MOTION))
        self.width = self.model.config.get_text_config().hidden_size
        self.down = nn.Linear(self.width, dim)
        self.up = nn.Linear(dim, self.width)

    def forward(self, observation: Observation) -> Tokens:
        states, mask_BT, z_BQD = self._read(observation)
        real = torch.ones(z_BQD.shape[:2], dtype=torch.bool, device=z_BQD.device)
        return Tokens(torch.cat([states, self.up(z_BQD)], dim=1), torch.cat([mask_BT, real], dim=1))

    def predict_latents(self, observation: Observation, texts: tuple[str, ...]) -> PredictedLatents:
        z_BQD = self._read(observation)[2]
        if observation.state_BS.device.type == "meta":
            return PredictedLatents(z_BQD, z_BQD.sum() * 0)
        inputs = self.writing(observation, texts).to(observation.state_BS.device)
        return PredictedLatents(z_BQD, self.model(**inputs, use_cache=False).loss.float())

    def _read(self, observation: Observation) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states (B, T, E), their mask, predicted latents."""
        inputs = self._process(observation, self._prompts(observation, latents=True))
        ids_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"].bool()
        if observation.state_BS.device.type == "meta":
            # described, not run (lara show): these models ask for values that a meta tensor does not have
            states = torch.zeros(*ids_BT.shape, self.width, device="meta")
            read = states[:, : self.scene + self.motion]
            return states, mask_BT.to("meta"), self.down(read)
        inputs = inputs.to(observation.state_BS.device)
        inner = self.model.model if hasattr(self.model, "model") else self.model
        out = inner(**inputs, output_hidden_states=True, use_cache=False)
        states, ids_BT = out.hidden_states[self.layer].to(self.down.weight.dtype), inputs["input_ids"]
        scene = states_at(states, ids_BT, self.scene_id, self.scene)
        motion = states_at(states, ids_BT, self.motion_id, self.motion)
        return states, inputs["attention_mask"].bool(), self.down(torch.cat([scene, motion], dim=1))

    def writing(self, observation: Observation, texts: tuple[str, ...]) -> Any:
        """Model inputs with labels: the ids of the text and its end, -100 on prompt, images and padding."""
        prompts = self._prompts(observation, latents=False)
        if "suffix" in inspect.signature(type(self.processor).__call__).parameters:
            # a prefix language model (PaliGemma) must be told where its causal part begins; its processor adds the end
            return self._process(observation, prompts, suffix=list(texts))
        end = self.processor.tokenizer.eos_token or ""
        inputs = self._process(observation, [f"{p}{t}{end}" for p, t in zip(prompts, texts, strict=True)])
        before = self._process(observation, prompts)["attention_mask"].sum(dim=1, keepdim=True)
        mask = inputs["attention_mask"]
        # real tokens are counted, which is right whichever side the padding is on
        written = (mask.cumsum(dim=1) > before) & mask.bool()
        inputs["labels"] = torch.where(written, inputs["input_ids"], -100)
        return inputs

    def _prompts(self, observation: Observation, *, latents: bool) -> list[str]:
        """One per sample, with a place for every camera; with the latent tokens, or up to where the text begins."""
        views = observation.images_BVCHW.shape[1]
        if views == 0:
            raise ConfigError("a student needs at least one camera; set data.cameras")
        answer = ANSWER.format(scene=SCENE * self.scene, motion=MOTION * self.motion) if latents else ""
        questions = [QUESTION.format(instruction=words) for words in observation.instruction]
        if getattr(self.processor, "chat_template", None):
            images = [{"type": "image"}] * views
            chats = [[{"role": "user", "content": [*images, {"type": "text", "text": q}]}] for q in questions]
            begun = [self.processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
            return [f"{prompt}{answer}" for prompt in begun]
        place = getattr(self.processor, "image_token", "<image>") * views
        return [f"{place}{question} Answer: {answer}" for question in questions]

    def _process(self, observation: Observation, text: list[str], **options: Any) -> Any:
        images = [list(views) for views in observation.images_BVCHW.cpu()]
        return self.processor(images=images, text=text, return_tensors="pt", padding=True, **options)
