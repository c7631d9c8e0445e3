"""The data group of a training's configuration, for commands that look at data and train nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lara.config.compose import compose, left_open, resolved
from lara.errors import ConfigError


def data_alone(overrides: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Composes conf/train.yaml, of which only data.root must be given.

    Returns:
        The data group, and which of its keys are still open: these are None in it.

    Raises:
        ConfigError: data.root is not given, or an override is wrong.
    """
    from omegaconf import OmegaConf

    config = compose("train", overrides)
    still = left_open(config)
    if "data.root" in still:
        raise ConfigError("these values must be given: data.root=... (a folder, or hub://owner/name)")
    for key in still:
        OmegaConf.update(config, key, None if key.startswith("data.") else "(not needed)")
    return resolved(config)["data"], tuple(k.removeprefix("data.") for k in still if k.startswith("data."))
