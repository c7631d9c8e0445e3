"""Loading an image-text model and its processor from the Hugging Face layout, safely; shared by policies and LAMs."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lara.config.trust import trusted
from lara.errors import CheckpointError, ConfigError, missing_extra
from lara.nn.weightless import weights_wanted

# LatBot's latent tokens (002, section 3.1), of its teacher and its student
SCENE, MOTION = "[CP_SCE]", "[CP_MOT]"


def load_image_text_model(
    *, path: str, revision: str | None, trust_remote_code: bool, dtype: str, feature: str
) -> tuple[Any, Any]:
    """(processor, model) of a local folder or a hub name; on the meta device from its config alone.

    trust_remote_code: run code that comes with the model; only with the flag --trust-remote-code on this command line,
    and at a pinned revision (a 40-digit commit hash).
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
            return processor, AutoModelForImageTextToText.from_pretrained(
                path, dtype=getattr(torch, dtype), use_safetensors=True, **source
            )
        config = AutoConfig.from_pretrained(path, **source)
        return processor, AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"no image-text model could be loaded from '{path}' (revision {revision}): {error}\nGive the path of a "
            "local folder (config.json, *.safetensors, processor files), or check network, name and access rights."
        ) from error


def require_pinned_code(trust_remote_code: bool, revision: str | None) -> None:
    """ConfigError where foreign code would run unasked, or at a revision that can change under one's feet.

    That a configuration says so is not enough: it may be a stranger's. The command line has to say it too.
    """
    if trust_remote_code and not _is_commit(revision):
        raise ConfigError(
            "trust_remote_code runs code from the model's repository; pin it with revision=<40-digit commit hash>, "
            f"got revision={revision!r}"
        )
    if trust_remote_code and not trusted().remote_code:
        raise ConfigError(
            "the configuration says trust_remote_code, which runs code from the model's repository. A file cannot "
            "decide that: read the code, then add --trust-remote-code to this command line (in Python: "
            "lara.config.trust.trusting)"
        )


def add_tokens(processor: Any, model: Any, tokens: tuple[str, ...]) -> list[int]:
    """Makes each of `tokens` one entry of the vocabulary, with a learnable embedding; returns their ids."""
    tokenizer = processor.tokenizer
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    # some models keep spare rows beyond their vocabulary; a table is only ever made longer
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    ids: list[int] = tokenizer.convert_tokens_to_ids(list(tokens))
    return ids


def states_at(states_BTE: Float[Tensor, "B T E"], ids_BT: Tensor, token: int, count: int) -> Float[Tensor, "B Q E"]:
    """The states at the `count` places of each row where `token` stands, in order."""
    here_BT = ids_BT == token
    found = here_BT.sum(dim=1)
    if not bool((found == count).all()):
        raise ConfigError(
            f"every prompt must hold its latent token {count} times, found {found.tolist()}: either the processor cut "
            "the prompt (fewer frames, smaller images, fewer latent tokens), or the instruction contains the token"
        )
    states: Tensor = states_BTE[here_BT].unflatten(0, (len(ids_BT), count))
    return states


def _is_commit(revision: str | None) -> bool:
    return revision is not None and len(revision) == 40 and all(c in "0123456789abcdef" for c in revision.lower())
