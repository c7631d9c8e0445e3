"""Key names of lerobot's SmolVLA <-> ours, which have no "model." in front."""

from __future__ import annotations

from lara.policy.hosts.shared.vendor import bare

HEAD = "vlm_with_expert.vlm.lm_head.weight"


def ours(key: str) -> str | None:
    """Our name for a key of lerobot's SmolVLA; None for the language head, which acts nowhere."""
    key = bare(key)
    return None if key == HEAD else key
