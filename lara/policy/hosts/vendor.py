"""Key names of public checkpoints <-> ours. Ours are openpi's; lerobot puts "model." in front.

Two tables of a vendor's checkpoint act nowhere: the expert's language head (its word table was removed) and the
image-text model's (tied to its word table, or unread). They are not kept here; writing a checkpoint fills them in, so
that the vendor's strict loader finds every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

WORDS_PI = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
HEAD_PI = "paligemma_with_expert.paligemma.lm_head.weight"
EXPERT_HEAD_PI = "paligemma_with_expert.gemma_expert.lm_head.weight"
HEAD_SMOL = "vlm_with_expert.vlm.lm_head.weight"
# lerobot before 0.4 and openpi before transformers 4.52 kept PaliGemma's pieces one level higher
_OLDER_PI = {
    "paligemma_with_expert.paligemma.language_model.lm_head.": "paligemma_with_expert.paligemma.lm_head.",
    "paligemma_with_expert.paligemma.language_model.model.": "paligemma_with_expert.paligemma.model.language_model.",
    "paligemma_with_expert.paligemma.vision_tower.": "paligemma_with_expert.paligemma.model.vision_tower.",
    "paligemma_with_expert.paligemma.multi_modal_projector.": (
        "paligemma_with_expert.paligemma.model.multi_modal_projector."
    ),
}
# statistics that lerobot before 0.4 kept among the weights; lara reads a dataset's own
STATISTICS = r"(normalize_inputs|normalize_targets|unnormalize_outputs)\..*"


def bare(key: str) -> str:
    """A lerobot key without its "model." (openpi's keys have none)."""
    return key.removeprefix("model.")


def pi_name(key: str) -> str | None:
    """Our name for a key of any pi0 or pi0.5 checkpoint; None for a table that acts nowhere."""
    key = _newer(bare(key))
    return None if key in (HEAD_PI, EXPERT_HEAD_PI) else key


def smol_name(key: str) -> str | None:
    """Our name for a key of lerobot's SmolVLA; None for the language head, which acts nowhere."""
    key = bare(key)
    return None if key == HEAD_SMOL else key


def with_tied_words(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds PaliGemma's word table where a file holds it only as the language head (safetensors writes a tie once)."""
    named = {_newer(bare(key)): key for key in tensors}
    out = dict(tensors)
    if WORDS_PI not in named and HEAD_PI in named:
        out[WORDS_PI] = tensors[named[HEAD_PI]]
    return out


def _newer(key: str) -> str:
    for old, new in _OLDER_PI.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def load(
    module: nn.Module, source: Mapping[str, Tensor] | str | Path, *, revision: str | None, rename: Any, prepare: Any
) -> dict[str, int]:
    """Fills a host from tensors, a file, a folder or a hub name; every parameter must be there (CheckpointError)."""
    from lara.policy.hosts.hub import local_folder
    from lara.policy.hosts.weights import fill, read_safetensors

    if isinstance(source, Mapping):
        tensors, name = source, "the given tensors"
    else:
        tensors, name = read_safetensors(local_folder(str(source), revision=revision)), str(source)
    return fill(module, prepare(tensors), rename=rename, ignore=(STATISTICS,), source=name)


def written(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a vendor's prefix, as a state dict to be written."""
    return {f"{prefix}{key}": value.detach() for key, value in tensors.items()}
