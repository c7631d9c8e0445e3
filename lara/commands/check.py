"""Reads a dataset as training would and says everything that is wrong or unusual about it, not only the first thing.

  lara check data=lerobot data.root=my/dataset
  lara check data=lerobot data.root=hub://lerobot/pusht
  lara check data=mixture/alam data.root=FOLDER           (every source, and which are missing)
  lara check experiment=demo/lara data.root=data/two      (with this training's settings; also builds its frame cache)

It prints what the dataset is, what is known about the robot, one table of findings, episodes and frames for training
and held out, what normalising will do, and a verdict. Flags:
  --decode      also decode every frame of every camera that is looked at
  --fix-stats   recompute meta/stats.json of a LeRobot dataset from its tables, and say what changed

Exit code: 0 when training can start, also if something is unusual; 2 with errors, which training would refuse.
"""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = "train"
FLAGS = ("--decode", "--fix-stats")


def main(overrides: Sequence[str]) -> int:
    from lara.config.data_alone import data_alone
    from lara.data.check.look import look
    from lara.data.check.opened import sources_of
    from lara.errors import LaraError

    flags = {flag for flag in overrides if flag in FLAGS}
    overrides = [o for o in overrides if o not in FLAGS]
    data, _ = data_alone(overrides)
    worst = 0
    for name, source in sources_of(data).items():
        try:
            if name:
                print(f"\n== data.sources.{name}")
            worst = max(worst, look(source, decode="--decode" in flags, fix="--fix-stats" in flags))
        except LaraError as error:
            if not name:
                raise
            print(f"error: {error}")  # the other sources are looked at all the same
            worst = 2
    if worst == 0 and any(o.startswith("experiment=") for o in overrides):
        _prepare(overrides)
    return worst


def _prepare(overrides: Sequence[str]) -> None:
    """What the experiment's training would do before its first step. Raises ConfigError or DataError as it would."""
    from lara.config.compose import compose, resolved
    from lara.launch import build_data, with_embodiments
    from lara.train.needs import require_views

    config = with_embodiments(resolved(compose(CONFIG, overrides)))
    data = build_data(config)
    require_views(config["system"], cameras=data.cameras, lam_cameras=data.lam_cameras, source=data.name)
    data.prepare()
    print(f"ready for this experiment: {data.summary()}")
