"""Loading an image-text model and its processor from the Hugging Face layout, safely; shared by policies and LAMs."""

from __future__ import annotations

from typing import Any

import torch

from lara.errors import CheckpointError, ConfigError, missing_extra
from lara.meta import weights_wanted


def load_image_text_model(
    *, path: str, revision: str | None, trust_remote_code: bool, dtype: str, feature: str
) -> tuple[Any, Any]:
    """(processor, model) of a local folder or a hub name; on the meta device from its config alone.

    trust_remote_code: run code that comes with the model; only at a pinned revision (a 40-digit commit hash).
    feature: what needs it, for the message when transformers is missing.
    Raises ConfigError, MissingExtraError, or CheckpointError where nothing can be loaded.
    """
    require_pinned_code(trust_remote_code, revision)
    try:
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
    except ImportError as error:
        raise missing_extra("transformers", "vlm", feature) from error
    source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        processor = AutoProcessor.from_pretrained(path, **source)
        if weights_wanted():
            return processor, AutoModelForImageTextToText.from_pretrained(path, dtype=getattr(torch, dtype), **source)
        config = AutoConfig.from_pretrained(path, **source)
        return processor, AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"no image-text model could be loaded from '{path}' (revision {revision}): {error}\nGive the path of a "
            "local folder (config.json, *.safetensors, processor files), or check network, name and access rights."
        ) from error


def require_pinned_code(trust_remote_code: bool, revision: str | None) -> None:
    """ConfigError where foreign code would run at a revision that can change under one's feet."""
    if trust_remote_code and not _is_commit(revision):
        raise ConfigError(
            "trust_remote_code runs code from the model's repository; pin it with revision=<40-digit commit hash>, "
            f"got revision={revision!r}"
        )


def _is_commit(revision: str | None) -> bool:
    return revision is not None and len(revision) == 40 and all(c in "0123456789abcdef" for c in revision.lower())
