"""Shared fixtures: one thread per test process, tiny systems and batches."""

from __future__ import annotations

import gc
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "osmesa")

# What is imported while tests are collected (torch, transformers, ...) is millions of objects that stay: looking
# through them for garbage again and again takes a fifth of the collection, and slows every test after it.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


IMAGE_TOKENS = 4
DCAE = {"block_out_channels": (8, 8, 8), "layers_per_block": (1, 1, 1), "qkv_multiscales": ((), (), ())}


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


@pytest.fixture(scope="session")
def sana(tmp_path_factory):
    """A folder with a SANA and a DC-AE of a few thousand random parameters, as diffusers saves them."""
    import torch

    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sana")
    diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=12,
        sample_size=8,
        patch_size=2,
    ).save_pretrained(folder / "transformer")
    blocks = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in DCAE.items()}
    diffusers.AutoencoderDC(latent_channels=4, scaling_factor=0.4, **blocks).save_pretrained(folder / "vae")
    return str(folder)
