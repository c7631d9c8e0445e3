"""lara: latent action models and vision-language-action policies that learn from each other.

Importing this package costs nothing (no torch, no hydra): a public name brings its module when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lara.face import evaluate as evaluate
    from lara.face import run_training as run_training
    from lara.label.run import label as label_dataset
    from lara.plugins.attach import Frames as Frames
    from lara.plugins.attach import attach as attach
    from lara.serve.load import load_lam as load_lam
    from lara.serve.policy import load_policy as load_policy

__version__ = "0.1.0"
__all__ = [
    "Frames",
    "__version__",
    "attach",
    "evaluate",
    "label_dataset",
    "load_lam",
    "load_policy",
    "run_training",
]

# Not `train` and `label`: these are packages, and `import lara.train.loop` would put one in the place of the function.
_LAZY = {
    "Frames": "lara.plugins.attach.Frames",
    "attach": "lara.plugins.attach.attach",
    "evaluate": "lara.face.evaluate",
    "label_dataset": "lara.label.run.label",
    "load_lam": "lara.serve.load.load_lam",
    "load_policy": "lara.serve.policy.load_policy",
    "run_training": "lara.face.run_training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'lara' has no attribute '{name}'")
    module, _, inside = _LAZY[name].rpartition(".")
    return getattr(importlib.import_module(module), inside)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
