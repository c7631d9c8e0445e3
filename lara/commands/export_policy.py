"""The trained policy of a run as a folder of its own: LoRA merged, statistics inside, no LAM, no projector.

  lara export policy checkpoint=RUN to=native output=FOLDER      opens with lara eval client.checkpoint=FOLDER
  lara export policy checkpoint=RUN to=lerobot output=FOLDER     pi0, pi0.5, SmolVLA; lara is not needed to load it
  lara export policy checkpoint=RUN to=openpi output=FOLDER      pi0, pi0.5
  lara export policy checkpoint=RUN to=groot base=CHECKPOINT output=FOLDER

ema=false takes the weights themselves where the run kept a moving average.
"""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = ""
_KEYS = {"checkpoint", "to", "output", "ema", "base"}


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError

    given = dict(a.split("=", 1) for a in arguments if "=" in a)
    wrong = sorted(set(given) - _KEYS) + [a for a in arguments if "=" not in a]
    missing = sorted({"checkpoint", "to", "output"} - set(given))
    if wrong or missing or given.get("ema", "true") not in ("true", "false"):
        raise ConfigError(
            "lara export policy takes checkpoint= to=native|lerobot|openpi|groot output= and may take ema=true|false "
            f"base=; missing {missing}, not understood {wrong}"
        )
    from lara.export.policy import export_policy

    folder = export_policy(
        checkpoint=given["checkpoint"],
        to=given["to"],
        output=given["output"],
        ema=given.get("ema", "true") == "true",
        base=given.get("base"),
    )
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{folder}: {size / 2**20:.1f} MiB in {sum(p.is_file() for p in folder.rglob('*'))} files")
    return 0
