"""lara: latent action models and vision-language-action policies that learn from each other.

Importing this package is cheap (no torch); the parts import what they need. `lara.attach` and `lara.Frames` come from
`lara.plugins.attach` when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["Frames", "__version__", "attach"]

_LAZY = {"attach": "lara.plugins.attach", "Frames": "lara.plugins.attach"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'lara' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)
