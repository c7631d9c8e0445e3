"""Folders of HDF5 demonstrations -> one LeRobotDataset v3.0, demonstration by demonstration; goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lara.data.convert.hdf5 import Images, Layout, layout_of, read_demo
from lara.data.frames.encode import ImageStorage, VideoStorage
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.write import assemble, stage_episode
from lara.errors import ConfigError, DataError, StoreError
from lara.specs import ActionSpec, ObservationSpec
from lara.store.files import retire_folder
from lara.store.lock import only_one
from lara.store.records import read_json, write_json

OSC = ("dx", "dy", "dz", "rx", "ry", "rz", "gripper")  # robosuite's OSC_POSE: changes in [-1, 1], +1 closes


def convert(
    path: Path,
    output: Path,
    *,
    storage: VideoStorage | ImageStorage,
    images: Images | None = None,
    fps: float | None = None,
    task: str | None = None,
    state: Sequence[str] | None = None,
) -> list[str]:
    """Writes the dataset `output`: whole or absent. Stopped at any moment, the same call goes on.

    Args:
        path: an HDF5 file, or a folder of them.
        output: a folder that does not exist yet.
        storage: how frames are kept.
        images: how pictures are turned (see `read_demo`). LIBERO stores them upside down: "rotate" is what its public
            conversions and evaluations use, which shows the scene mirrored; "flip" shows it as it is. Where None:
            "rotate" for LIBERO's files, "keep" for others.
        fps: steps per second; the files' own where None.
        task: the instruction of all demonstrations; each file's own where None.
        state: which observations are the state; see `layout_of`.

    Returns:
        Lines that say what was made and what was taken for granted.

    Raises:
        ConfigError: something has to be said, or an earlier conversion into `output` was another.
        DataError: a file is damaged, or files do not fit together.
        StoreError: `output` exists.
    """
    files = [path] if path.is_file() else sorted([*path.rglob("*.hdf5"), *path.rglob("*.h5")])
    if not files:
        raise DataError(f"{path}: expected an HDF5 file or a folder of *.hdf5, found none")
    if output.exists():
        raise StoreError(f"{output} exists; remove it, or give another output")
    layouts = [layout_of(file, task=task, state=state) for file in files]
    _require_alike(layouts)
    turn: Images = images or ("rotate" if layouts[0].libero else "keep")
    rate = fps or layouts[0].fps
    if rate is None:
        raise ConfigError(
            f"{files[0]}: does not say how many steps a second has; give fps=20 (LIBERO's and robomimic's)"
        )
    request = {
        "files": [[file.name, file.stat().st_size] for file in files],
        "images": turn,
        "fps": rate,
        "task": task,
        "state": list(layouts[0].state),
        "storage": {"kind": type(storage).__name__, **asdict(storage)},
    }
    staging = output.with_name(output.name + ".staging")
    work = [(layout, demo) for layout in layouts for demo in layout.demos]
    with only_one(staging, "converting"):
        _claim(staging, request)
        folders = [staging / f"{k:06d}" for k in range(len(work))]
        for folder, (layout, demo) in zip(tqdm(folders, desc="demonstrations", disable=None), work, strict=True):
            if not folder.exists():
                stage_episode(folder, read_demo(layout, demo, images=turn), fps=rate, storage=storage)
        assemble(folders, output, robot=_card(layouts[0], rate), fps=rate, storage=storage)
    retire_folder(staging)
    return [
        f"{output}: {len(work):,} demonstrations of {len({one.task for one in layouts})} tasks at {rate:g} fps",
        f"pictures: {turn} ({'upside down in the files' if turn != 'keep' else 'as they are in the files'})",
        "actions: robosuite's OSC_POSE, changes in [-1, 1], rotation as axis and angle, +1 closes the gripper",
    ]


def _card(layout: Layout, rate: float) -> RobotCard:
    if layout.action_dim != len(OSC):
        raise ConfigError(
            f"{layout.path}: actions have {layout.action_dim} numbers; only robosuite's OSC_POSE with one arm and a "
            f"gripper ({len(OSC)}) is known, whose meaning no file says"
        )
    return RobotCard(
        name="libero" if layout.libero else "robosuite",
        action=ActionSpec(
            names=OSC,
            control="delta",
            rotation="axis_angle",
            gripper="close_positive",
            low=(-1.0,) * 7,
            high=(1.0,) * 7,
            rate_hz=rate,
        ),
        observation=ObservationSpec(cameras=tuple(layout.cameras), state=layout.state_names),
    )


def _require_alike(layouts: Sequence[Layout]) -> None:
    first = layouts[0]
    for one in layouts[1:]:
        for name in ("cameras", "state_names", "action_dim", "fps", "libero"):
            if getattr(one, name) != getattr(first, name):
                raise DataError(
                    f"{one.path}: {name} is {getattr(one, name)}, that of {first.path.name} is {getattr(first, name)}; "
                    "convert them into datasets of their own"
                )
    _card(first, first.fps or 1.0)


def _claim(staging: Path, request: dict[str, Any]) -> None:
    """What lies here belongs to one request; another one is refused rather than mixed in."""
    path, request = staging / "request.json", json.loads(json.dumps(request))
    if not path.exists():
        write_json(path, request)
        return
    earlier = read_json(path, DataError)
    other = [key for key in request if not isinstance(earlier, dict) or earlier.get(key) != request[key]]
    if other:
        raise ConfigError(
            f"{staging} holds part of a conversion with other {', '.join(other)}; repeat that one, give another "
            "output, or remove the folder"
        )
