"""The real loading code on a PaliGemma of a few thousand random parameters (made in tests/conftest.py)."""

import dataclasses

import pytest
import torch

from lara.errors import CheckpointError, ConfigError
from lara.policy.adapter import SelfAttentionAdapter
from lara.policy.backbones.huggingface import HuggingFaceBackbone
from tests.tiny import tiny_batch


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
