"""Text to token ids for a host. Which tokenizer is a choice in the configuration, never a fallback."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from lara.errors import CheckpointError, ConfigError, missing_extra


@runtime_checkable
class Tokenizer(Protocol):
    """Texts -> ids (B, length) int64 and mask (B, length), True where a token is real; padded on the right.

    Raises ConfigError for a text longer than `length`: what is cut off would be missed without anyone knowing.
    """

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]: ...


class WordHashTokenizer:
    """Words, digits and signs hashed into `vocabulary` ids; nothing to download, nothing a checkpoint would know.

    For tests and training from random weights. Id 0 is padding, 1 begins every text.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, vocabulary: int) -> None:
        if vocabulary < 3:
            raise ConfigError(f"a vocabulary has padding, a beginning and at least one word, got {vocabulary}")
        self.vocabulary = vocabulary

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        pieces = [re.findall(r"[^\W\d]+|\d|[^\w\s]|\n", text) for text in texts]
        return padded(
            [[1, *(2 + zlib.crc32(p.encode()) % (self.vocabulary - 2) for p in row)] for row in pieces], length
        )


class HubTokenizer:
    """A model's own tokenizer. path: a folder or a hub name; revision: the commit to pin.

    pi0 and pi0.5 use google/paligemma-3b-pt-224, which is gated: accept its terms on its page and log in, or give a
    folder with its tokenizer.json.
    """

    buildable: ClassVar[str] = "model"

    def __init__(self, path: str, revision: str | None = None) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise missing_extra("transformers", "vlm", "The tokenizer of an image-text model") from error
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"no tokenizer could be loaded from '{path}' (revision {revision}): {error}\nA gated model's terms "
                "must be accepted on its page, and this machine logged in (hf auth login); or give the path of a local "
                "folder with tokenizer.json; or choose WordHashTokenizer (same module) for random weights."
            ) from error

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        return padded(self.tokenizer(list(texts))["input_ids"], length)


def padded(rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """Rows of token ids -> ids and mask (B, length). Raises ConfigError for a row that is longer."""
    longest = max(len(row) for row in rows)
    if longest > length:
        raise ConfigError(
            f"a prompt has {longest} tokens, the policy reads {length}; set policy.prompt_length={longest} or more "
            "(padding changes nothing but time), or shorten the instruction"
        )
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for k, row in enumerate(rows):
        ids[k, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[k, : len(row)] = True
    return ids, mask
