"""Key names of public pi0 and pi0.5 checkpoints <-> ours. Ours are openpi's; lerobot puts "model." in front.

And what lerobot calls the places and the processors of these policies, see shared.lerobot.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lara.policy.hosts.shared.lerobot import Pipeline, Places
from lara.policy.hosts.shared.vendor import bare

_GEMMA = "model.paligemma_with_expert.gemma_expert.model"
_PLACES = Places(f"{_GEMMA}.layers", "input_layernorm", "model.action_out_proj", f"{_GEMMA}.norm")
PLACES = {"pi0": _PLACES, "pi05": _PLACES}
_TOKENIZER = "google/paligemma-3b-pt-224"
PIPELINES = {
    "pi0": Pipeline(prompt="pi0_new_line_processor", tokenizer=_TOKENIZER, length=48),
    "pi05": Pipeline(
        prompt="pi05_prepare_state_tokenizer_processor_step", tokenizer=_TOKENIZER, length=200, state_in_prompt=True
    ),
}

WORDS = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
HEAD = "paligemma_with_expert.paligemma.lm_head.weight"
EXPERT_HEAD = "paligemma_with_expert.gemma_expert.lm_head.weight"
# lerobot before 0.4 and openpi before transformers 4.52 kept PaliGemma's pieces one level higher
_OLDER = {
    "paligemma_with_expert.paligemma.language_model.lm_head.": "paligemma_with_expert.paligemma.lm_head.",
    "paligemma_with_expert.paligemma.language_model.model.": "paligemma_with_expert.paligemma.model.language_model.",
    "paligemma_with_expert.paligemma.vision_tower.": "paligemma_with_expert.paligemma.model.vision_tower.",
    "paligemma_with_expert.paligemma.multi_modal_projector.": (
        "paligemma_with_expert.paligemma.model.multi_modal_projector."
    ),
}


def ours(key: str) -> str | None:
    """Our name for a key of any pi0 or pi0.5 checkpoint; None for a table that acts nowhere."""
    key = _newer(bare(key))
    return None if key in (HEAD, EXPERT_HEAD) else key


def with_tied_words(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds PaliGemma's word table where a file holds it only as the language head (safetensors writes a tie once)."""
    named = {_newer(bare(key)): key for key in tensors}
    out = dict(tensors)
    if WORDS not in named and HEAD in named:
        out[WORDS] = tensors[named[HEAD]]
    return out


def _newer(key: str) -> str:
    for old, new in _OLDER.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
