"""Reads a dataset as training would and says everything that is wrong or unusual about it, not only the first thing.

  lara check data=lerobot data.root=my/dataset
  lara check data=lerobot data.root=hub://lerobot/pusht
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

    flags = {flag for flag in overrides if flag in FLAGS}
    overrides = [o for o in overrides if o not in FLAGS]
    data, still_open = data_alone(overrides)
    found = _look(data, still_open, decode="--decode" in flags, fix="--fix-stats" in flags)
    if found == 0 and any(o.startswith("experiment=") for o in overrides):
        _prepare(overrides)
    return found


def _look(data: dict, still_open: Sequence[str], *, decode: bool, fix: bool) -> int:
    import shutil

    from lara.data.check import text
    from lara.data.check.examine import examine
    from lara.data.check.opened import card_of, fixed, looked_at, opened

    source = opened(data["root"], data.get("format"))
    if fix:
        print("\n".join(fixed(data["root"], source.root)))
    width = shutil.get_terminal_size((120, 24)).columns
    robot = text.robot_lines(*card_of(source, data.get("robot"))) if source.action_names else ()
    print(*text.about(source), *robot, sep="\n")
    found = examine(
        source,
        cameras=looked_at(source, [] if "cameras" in still_open else [*data["cameras"], *data["lam_cameras"]]),
        decode=decode,
        validation_fraction=data["validation_fraction"],
        seed=data["seed"],
        max_episodes_per_task=data.get("max_episodes_per_task"),
        modes=(data["action_normalizer"], data["state_normalizer"]),
    )
    print("", *text.shares_table(found, width=width), "", sep="\n")
    table = text.findings_table(found.findings, root=source.root, width=width)
    for line in (*table, *text.remark_lines(found, width=width), text.verdict(found)):
        print(line)
    return 2 if found.count("error") else 0


def _prepare(overrides: Sequence[str]) -> None:
    """What the experiment's training would do before its first step. Raises ConfigError or DataError as it would."""
    from lara.config.compose import compose, resolved
    from lara.launch import build_data, with_embodiment

    data = build_data(with_embodiment(resolved(compose(CONFIG, overrides))))
    data.prepare()
    print(f"ready for this experiment: {data.summary()}")
