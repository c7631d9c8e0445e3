"""Labels every frame of a dataset with a LAM's latent actions: z, and codes where the latent space has them.

  lara label checkpoint=outputs/lara_lam dataset=outputs/demo/data output=outputs/labels
  lara label checkpoint=outputs/lara_lam dataset=my/videos output=outputs/labels label.workers=8
  lara label checkpoint=outputs/lara_lam dataset=my/data in_place=true label.prefix=lara
  lara label checkpoint=... dataset=... output=... label.engine=ray label.workers=64 label.address=auto

dataset: a LeRobotDataset v3.0, or a folder of mp4 files. The result is a sidecar dataset with the same episodes and
frames, or (in_place=true) new columns of the dataset itself. Interrupted, the same command goes on where it was.
docs/systems/labels.md says what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONFIG = "label"


def main(overrides: Sequence[str]) -> int:
    from lara.config.compose import compose, resolved

    write_labels(resolved(compose(CONFIG, overrides)))
    return 0


def write_labels(config: dict[str, Any]) -> None:
    """What a resolved conf/label.yaml asks for, and a line about it."""
    from lara.label.run import label, settings_of

    about = label(
        lam=config["checkpoint"],
        ema=config["ema"],
        dataset=config["dataset"],
        output=config["output"],
        in_place=config["in_place"],
        settings=settings_of(config["label"]),
    )
    counts, latent = about["counts"], about["lam"]
    print(
        f"{counts['frames']} frames, {counts['pairs']} pairs {about['settings']['gap']} frames apart: "
        f"{latent['queries']} x {latent['dim']} ({latent['space']}) as {about['prefix']}.*"
    )
    print(config["output"] or config["dataset"])
