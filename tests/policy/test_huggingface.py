"""The real loading code on a PaliGemma of a few thousand random parameters, made here."""

import dataclasses

import pytest
import torch

from lara.errors import CheckpointError, ConfigError
from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbones.huggingface import HuggingFaceBackbone
from tests.tiny import tiny_batch

IMAGE_TOKENS = 4


@pytest.fixture(scope="session")
def paligemma(tmp_path_factory):
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
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
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


def test_tokens_have_the_text_width_and_padding_is_masked(paligemma):
    backbone = HuggingFaceBackbone(path=paligemma)
    observation = tiny_batch(2).observation
    observation = dataclasses.replace(observation, instruction=("open the drawer", "close"))
    tokens = backbone(observation)
    assert backbone.width == tokens.x.shape[2] == 24
    assert tokens.mask.sum(1).tolist()[0] == tokens.mask.sum(1).tolist()[1] + 2
    assert torch.isfinite(tokens.x).all()
    adapted = SelfAttentionAdapter(context_width=24, heads=2, width=16)(tokens)
    assert adapted.x.shape == (*tokens.x.shape[:2], 16)


def test_it_sees_the_picture_and_reads_the_words(paligemma):
    backbone = HuggingFaceBackbone(path=paligemma)
    base = dataclasses.replace(tiny_batch(1).observation, instruction=("open the drawer",))
    reference = backbone(base).x
    other_picture = dataclasses.replace(base, images_BVCHW=255 - base.images_BVCHW)
    other_words = dataclasses.replace(base, instruction=("close the drawer",))
    assert (backbone(other_picture).x - reference).abs().max() > 1e-4
    assert (backbone(other_words).x - reference).abs().max() > 1e-4


def test_frozen_means_no_gradient_and_eval_mode(paligemma):
    frozen, tuned = (HuggingFaceBackbone(path=paligemma, frozen=f).train() for f in (True, False))
    assert not frozen.model.training
    assert tuned.model.training
    observation = dataclasses.replace(tiny_batch(1).observation, instruction=("open",))
    assert not frozen(observation).x.requires_grad
    tuned(observation).x.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in tuned.parameters())


def test_remote_code_needs_a_pinned_commit(paligemma):
    with pytest.raises(ConfigError, match="40-digit commit hash"):
        HuggingFaceBackbone(path=paligemma, trust_remote_code=True, revision="main")


def test_a_folder_without_a_model_says_what_is_needed(tmp_path):
    with pytest.raises(CheckpointError, match=r"local folder \(config\.json"):
        HuggingFaceBackbone(path=str(tmp_path))
