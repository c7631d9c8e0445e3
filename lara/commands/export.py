"""A part of a run as a folder of its own. The first word says which part:

  lara export lam checkpoint=RUN output=FOLDER [ema=false]
  lara export policy checkpoint=RUN to=native|lerobot|openpi|groot output=FOLDER [ema=false] [base=CHECKPOINT]

lam: the latent action model with its latent space; nothing of policy or projector is inside. What comes out opens with
lara label, lara probe, stage.load.lam=FOLDER and lara.serve.load.load_lam.
policy: the policy alone, adapters merged, with its statistics; in lara's format or in that of the package that its
weights came from.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

CONFIG = ""

# word -> module of lara.commands with a main(arguments)
MODULES = {"lam": "export_lam", "policy": "export_policy"}


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError, nearest

    word = arguments[0] if arguments else ""
    if word not in MODULES:
        said = f"'{word}' cannot be exported" if word else "say what to export"
        raise ConfigError(
            f"{said}: lara export {'|'.join(MODULES)} checkpoint=RUN output=FOLDER. {nearest(word, MODULES)}"
        )
    return importlib.import_module(f"lara.commands.{MODULES[word]}").main(arguments[1:])
