"""Five sources for a mixture: three representations of actions, two rates, one and two cameras, plain video."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from lara.data.actions.eef_pose import AbsolutePose
from lara.data.actions.relative import RelativeActions
from lara.data.episode import Episode
from lara.data.frames.encode import ImageStorage
from lara.data.mixture import Mixture
from lara.data.sources.lerobot.write import assemble, stage_episode
from tests.data import flat, worlds
from tests.data.sources.films import film

H = 3
LENGTHS = (24, 30, 26, 28)
WEIGHTS = {"toy": 4.0, "toy_again": 1.0, "arm": 2.0, "joints": 2.0, "video": 3.0}
POSE = AbsolutePose(position=("x", "y", "z"), rotation=("rx", "ry", "rz"), gripper="grip")


def write(root: Path, card, *, fps: float, seed: int, offset: float = 0.0) -> list[Episode]:
    rng, episodes, folders = np.random.default_rng(seed), [], []
    for k, length in enumerate(LENGTHS):
        dims = card.action.dim, len(card.observation.state)
        one = Episode(
            images={
                c: np.stack([worlds.picture(k, t, i) for t in range(length)])
                for i, c in enumerate(card.observation.cameras)
            },
            state=rng.normal(offset, 1, (length, dims[1])).astype(np.float32),
            actions=rng.uniform(-1, 1, (length, dims[0])).astype(np.float32) + np.float32(offset),
            task=f"{card.name} {k % 2}",
            info={},
        )
        folder = root.parent / f"staging-{root.name}" / str(k)
        stage_episode(folder, one, fps=fps, storage=ImageStorage())
        episodes.append(one)
        folders.append(folder)
    assemble(folders, root, robot=card, fps=fps, storage=ImageStorage())
    return episodes


def card(name: str, cameras, **action):
    card = worlds.robot(cameras=cameras, action=len(action.get("names", "abc")), state=2)
    limits = {"low": (-9.0,) * card.action.dim, "high": (9.0,) * card.action.dim}
    return replace(card, name=name, action=replace(card.action, **limits, **action))


def make_world(root: Path) -> tuple[Path, dict[str, list[Episode]]]:
    """The datasets and films of the five sources below `root`, and what stands in them."""
    arm = card(
        "arm", ("front",), names=(*POSE.position, *POSE.rotation, "grip"), control="absolute", rotation="euler_xyz"
    )
    arm = replace(arm, action=replace(arm.action, gripper="open_positive", rate_hz=30.0))
    made = {
        "toy": write(root / "toy", card("toy", ("top", "wrist")), fps=10, seed=1),
        "toy_again": write(root / "toy_again", card("toy", ("top", "wrist")), fps=10, seed=2, offset=3.0),
        "arm": write(root / "arm", arm, fps=30, seed=3),
        "joints": write(root / "joints", card("joints", ("top", "wrist"), control="absolute"), fps=10, seed=4),
    }
    for k, length in enumerate(LENGTHS):
        film(root / "video" / f"{k}.mp4", range(100 * k, 100 * k + length), fps=30)
    return root, made


def settings(folder: Path, name: str, **changes):
    own = {
        "toy": {"embodiment": "toy", "slot": 0, "lam_cameras": ["top"]},
        "toy_again": {"embodiment": "toy", "slot": 0, "lam_cameras": ["top"]},
        "arm": {"embodiment": "arm", "slot": 1, "actions": POSE, "state_normalizer": "min_max"},
        "joints": {
            "embodiment": "joints",
            "slot": 2,
            "lam_cameras": ["wrist"],
            "actions": RelativeActions(state={"a0": "s1"}),
            "action_normalizer": "mean_std",
        },
        "video": {"embodiment": "video", "slot": 3, "image_fit": "pad"},
    }[name]
    shared = {
        "root": folder / name,
        "horizon": H,
        "image_size": 16,
        "action_dim_max": 12,
        "state_dim_max": 4,
        "validation_fraction": 0.25,
        "lam_cameras": None,
        "frame_gap": 1,
        "stride_seconds": 0.2,
        "random_shift": 1,
        "cache": False,
        "seed": 5,
    }
    return {**shared, **own, **changes}


def mixture(world, names=tuple(WEIGHTS), weights=None, **changes) -> Mixture:
    sources = {name: partial(flat.dataset, **settings(world[0], name, **changes)) for name in names}
    weights = {name: WEIGHTS[name] for name in names} if weights is None else weights
    return Mixture(sources=sources, weights=weights, seed=3)


def source_of(mixture: Mixture, index: np.ndarray) -> np.ndarray:
    begins = np.cumsum([part.frame_count for part in mixture.sources.values()])
    return np.searchsorted(begins, index, side="right")
