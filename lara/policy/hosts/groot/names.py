"""GR00T's own names are lara's too; this is where lerobot has them."""

from __future__ import annotations

from lara.policy.hosts.shared.lerobot import Places

# a language head whose logits nobody reads
UNREAD = (r"backbone\.model\.lm_head\.weight",)

_DIT = "_groot_model.action_head.model"
PLACES = {"groot": Places(f"{_DIT}.transformer_blocks", "", f"{_DIT}.proj_out_2", f"{_DIT}.norm_out", depth=-2)}
