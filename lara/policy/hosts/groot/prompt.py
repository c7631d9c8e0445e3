"""Images and instructions -> the inputs of a Qwen3-VL model. Which processor is a choice in the configuration.

Both pad on the left, as GR00T does, and put a sample's images before its text (N1.7). Outputs, all on the device of the
images: input_ids, attention_mask, mm_token_type_ids (B, J); pixel_values (patches, D); image_grid_thw (B * V, 3).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from lara.errors import CheckpointError, ConfigError, missing_extra
from lara.policy.hosts.groot.images import crop_and_resize, qwen_patches


class QwenProcessor(Protocol):
    def __call__(self, images_BVCHW: Tensor, instructions: Sequence[str]) -> dict[str, Tensor]: ...


def formulate(instruction: str, language: str) -> str:
    """The instruction as the vendor writes it: "plain" as it is, "formal" lower case without punctuation (N1.6, N1.7),
    "list" as a Python list of one string (N1.5). Raises ConfigError for another word."""
    if language not in ("plain", "formal", "list"):
        raise ConfigError(f"language is plain, formal or list, got {language!r}")
    if language == "formal":
        return re.sub(r"[^\w\s]", "", instruction.lower())
    return str([instruction]) if language == "list" else instruction


class WordProcessor:
    """Hashed words and native patches: nothing to download, nothing a checkpoint would know. For tests and tiny runs.

    Ids: 0 padding, 1 begins and 2 ends a prompt, 3 and 4 around an image, 5 a piece of an image, the rest are words.
    patch, merge, frames: as in the model's vision config. edge, crop: see images.crop_and_resize.
    """

    buildable: ClassVar[str] = "model"

    START, END, VISION_START, VISION_END, IMAGE, WORDS = 1, 2, 3, 4, 5, 8

    def __init__(
        self, *, vocabulary: int, patch: int, merge: int, frames: int = 2, edge: int | None = None, crop: float = 1.0
    ) -> None:
        if vocabulary <= self.WORDS:
            raise ConfigError(f"a vocabulary has {self.WORDS} special ids and at least one word, got {vocabulary}")
        self.vocabulary, self.patch, self.merge, self.frames = vocabulary, patch, merge, frames
        self.edge, self.crop = edge, crop

    def __call__(self, images_BVCHW: Tensor, instructions: Sequence[str]) -> dict[str, Tensor]:
        batch, views = _shape(images_BVCHW)
        images = crop_and_resize(images_BVCHW.flatten(0, 1), edge=self.edge, crop=self.crop)
        unit = self.patch * self.merge
        if images.shape[-2] % unit or images.shape[-1] % unit:
            raise ConfigError(
                f"images must be multiples of {unit} pixels (patch * merge), got {tuple(images.shape[-2:])}"
            )
        patches, grid = qwen_patches(images, patch=self.patch, merge=self.merge, frames=self.frames)
        pieces = len(patches) // (batch * views * self.merge**2)
        image = [self.VISION_START, *[self.IMAGE] * pieces, self.VISION_END]
        rows = [[self.START, *image * views, *self._words(text), self.END] for text in instructions]
        longest = max(len(row) for row in rows)
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=images.device)
        return {
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            "mm_token_type_ids": (ids == self.IMAGE).long(),
            "pixel_values": patches,
            "image_grid_thw": grid,
        }

    def _words(self, text: str) -> list[int]:
        words = formulate(text, "formal").split()
        return [self.WORDS + zlib.crc32(w.encode()) % (self.vocabulary - self.WORDS) for w in words]


class HubProcessor:
    """The model's own processor and chat template. path: a folder or hub name; revision: the commit to pin.

    GR00T N1.7 uses nvidia/Cosmos-Reason2-2B, which is gated. language: see `formulate`.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        path: str,
        revision: str | None = None,
        edge: int | None = None,
        crop: float = 1.0,
        language: str = "formal",
    ) -> None:
        try:
            from transformers import AutoProcessor
        except ImportError as error:
            raise missing_extra("transformers", "vlm", "The processor of an image-text model") from error
        try:
            self.processor: Any = AutoProcessor.from_pretrained(path, revision=revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"no processor could be loaded from '{path}' (revision {revision}): {error}\nA gated model's terms "
                "must be accepted on its page, and this machine logged in (hf auth login); or give the path of a local "
                "folder with tokenizer and processor files; or choose lara.policy.hosts.groot.prompt.WordProcessor "
                "for random weights."
            ) from error
        self.processor.tokenizer.padding_side = "left"
        self.edge, self.crop, self.language = edge, crop, language

    def __call__(self, images_BVCHW: Tensor, instructions: Sequence[str]) -> dict[str, Tensor]:
        views = _shape(images_BVCHW)[1]
        images = list(crop_and_resize(images_BVCHW.flatten(0, 1).cpu(), edge=self.edge, crop=self.crop))
        texts = [self._chat(formulate(text, self.language), views) for text in instructions]
        inputs = self.processor(text=texts, images=images, return_tensors="pt", padding=True)
        wanted = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
        return {name: inputs[name].to(images_BVCHW.device) for name in wanted}

    def _chat(self, text: str, views: int) -> str:
        content = [{"type": "image"}] * views + [{"type": "text", "text": text}]
        turns = [{"role": "user", "content": content}]
        chat: str = self.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
        return chat


def _shape(images_BVCHW: Tensor) -> tuple[int, int]:
    batch, views = images_BVCHW.shape[:2]
    if not views:
        raise ConfigError("GR00T needs at least one camera (its image blocks would look at nothing); set data.cameras")
    return batch, views
