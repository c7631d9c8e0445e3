"""What the families of hosts declare in their names.py, gathered from their folders: the folder is the list."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from lara.policy import hosts
from lara.policy.hosts.shared.lerobot import Pipeline, Places


def places() -> dict[str, Places]:
    """lerobot's name of a policy -> where its states are."""
    return {kind: place for family in _names() for kind, place in getattr(family, "PLACES", {}).items()}


def pipelines() -> dict[str, Pipeline]:
    """lerobot's name of a policy -> how lerobot prepares its text."""
    return {kind: pipeline for family in _names() for kind, pipeline in getattr(family, "PIPELINES", {}).items()}


def _names() -> list[ModuleType]:
    folders = sorted(m.name for m in pkgutil.iter_modules(hosts.__path__) if m.ispkg and m.name != "shared")
    return [importlib.import_module(f"{hosts.__name__}.{folder}.names") for folder in folders]
