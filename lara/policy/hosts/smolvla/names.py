"""Key names of lerobot's SmolVLA <-> ours, which have no "model." in front."""

from __future__ import annotations

from lara.policy.hosts.shared.lerobot import Pipeline, Places
from lara.policy.hosts.shared.vendor import bare

_EXPERT = "model.vlm_with_expert.lm_expert"
PLACES = {"smolvla": Places(f"{_EXPERT}.layers", "input_layernorm", "model.action_out_proj", f"{_EXPERT}.norm")}
PIPELINES = {
    "smolvla": Pipeline(
        prompt="smolvla_new_line_processor",
        tokenizer="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        length=48,
        padding="longest",
    )
}

HEAD = "vlm_with_expert.vlm.lm_head.weight"


def ours(key: str) -> str | None:
    """Our name for a key of lerobot's SmolVLA; None for the language head, which acts nowhere."""
    key = bare(key)
    return None if key == HEAD else key
