"""Shared fixtures: one thread per test process, tiny systems and batches."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "osmesa")

IMAGE_TOKENS = 4


@pytest.fixture(scope="session")
def paligemma(tmp_path_factory):
    """A folder with a PaliGemma of a few thousand random parameters, as from_pretrained wants it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        GemmaConfig,
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        PreTrainedTokenizerFast,
        SiglipImageProcessor,
        SiglipVisionConfig,
    )

    torch.manual_seed(0)
    words = ["<pad>", "<bos>", "<eos>", "<unk>", "<image>", "\n", "open", "close", "drawer", "the", *"0123456789"]
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    fast.add_special_tokens({"additional_special_tokens": ["<image>"]})
    images = SiglipImageProcessor(size={"height": 32, "width": 32})
    images.image_seq_length = IMAGE_TOKENS
    processor = PaliGemmaProcessor(image_processor=images, tokenizer=fast)
    vocabulary = len(processor.tokenizer)
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
        ).to_dict(),
        text_config=GemmaConfig(
            vocab_size=vocabulary,
            hidden_size=24,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=12,
        ).to_dict(),
        projection_dim=24,
        image_token_index=processor.image_token_id,
    )
    folder = tmp_path_factory.mktemp("paligemma")
    PaliGemmaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
