"""A part of a run as a folder of its own. The first word says which part:

  lara export lam checkpoint=RUN output=FOLDER [ema=false]
  lara export policy checkpoint=RUN to=native|lerobot|openpi|groot output=FOLDER [ema=false]
                    [base=CHECKPOINT] [embodiment=NAME]

lam: the latent action model with its latent space; nothing of policy or projector is inside. What comes out opens with
lara label, lara probe, stage.load.lam=FOLDER and lara.serve.load.load_lam.
policy: the policy alone, adapters merged, with its statistics; in lara's format (to=native, which opens with lara eval
client.checkpoint=FOLDER), or in that of the package that its weights came from: lerobot, openpi, or groot (with base=,
the checkpoint that the run started from). A format that the policy does not have is answered with those it has.
ema=false takes the weights of the last step where the run kept a moving average.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lara.commands.forms import read_form

CONFIG = ""
FORMS = {
    "lam": "checkpoint=RUN output=FOLDER [ema=true|false]",
    "policy": "checkpoint=RUN to=native|lerobot|openpi|groot output=FOLDER [ema=true|false] [base=CHECKPOINT] "
    "[embodiment=NAME]",
}


def main(arguments: Sequence[str]) -> int:
    word, given = read_form("lara export", FORMS, arguments)
    output, ema = Path(given["output"]), given.get("ema", "true") == "true"
    if word == "lam":
        from lara.export.lam import export_lam

        folder = export_lam(given["checkpoint"], output, ema=ema)
    else:
        from lara.export.policy import export_policy

        folder = export_policy(
            checkpoint=given["checkpoint"],
            to=given["to"],
            output=output,
            ema=ema,
            base=given.get("base"),
            embodiment=given.get("embodiment"),
        )
    files = [path for path in folder.rglob("*") if path.is_file()]
    print(f"{folder}: {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB in {len(files)} files")
    return 0
