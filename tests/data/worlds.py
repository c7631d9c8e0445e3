"""Small datasets whose every number is known: frame t of episode k shows a pattern of (k, t)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lara.data.episode import Episode
from lara.data.frames.encode import ImageStorage, VideoStorage
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.write import assemble, stage_episode
from lara.specs import ActionSpec, ObservationSpec

SIZE, FPS, ACTION, STATE, CAMERAS = 32, 10.0, 3, 2, ("top", "wrist")
TASKS = ("push the cube", "öffne die Schublade")


def robot(*, cameras=CAMERAS, fps: float = FPS, action: int = ACTION, state: int = STATE) -> RobotCard:
    return RobotCard(
        name="toy",
        action=ActionSpec(
            names=tuple(f"a{i}" for i in range(action)),
            control="delta",
            rotation="none",
            gripper="none",
            low=(-1.0,) * action,
            high=(1.0,) * action,
            rate_hz=fps,
        ),
        observation=ObservationSpec(cameras=tuple(cameras), state=tuple(f"s{i}" for i in range(state))),
    )


def picture(episode: int, t: int, camera: int, size: int = SIZE) -> np.ndarray:
    """Four flat quadrants (codecs keep them): episode, low bits of t, high bits of t, camera."""
    values = [60 + 10 * episode, 40 + 25 * (t % 8), 40 + 25 * (t // 8), 50 + 100 * camera]
    image = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    for i, value in enumerate(values):
        image[(i // 2) * half : (i // 2 + 1) * half, (i % 2) * half : (i % 2 + 1) * half] = value
    return image


def read_picture(image: np.ndarray) -> tuple[int, int, int]:
    """(episode, t, camera) of a picture, at any resolution and after a codec."""
    half, quarter = image.shape[0] // 2, image.shape[0] // 4
    a, b, c, d = (float(image[y, x].mean()) for y in (quarter, half + quarter) for x in (quarter, half + quarter))
    return round((a - 60) / 10), round((b - 40) / 25) + 8 * round((c - 40) / 25), round((d - 50) / 100)


def episode(number: int, length: int, *, cameras=CAMERAS, size: int = SIZE, action=ACTION, state=STATE) -> Episode:
    rng = np.random.default_rng(1000 + number)
    return Episode(
        images={c: np.stack([picture(number, t, i, size) for t in range(length)]) for i, c in enumerate(cameras)},
        state=rng.normal(size=(length, state)).astype(np.float32),
        actions=rng.uniform(-1, 1, (length, action)).astype(np.float32),
        task=TASKS[number % len(TASKS)],
        info={"success": number % 2 == 0, "seed": number, "goal": "left", "score": 0.5},
    )


def write(
    root: Path,
    lengths=(5, 9, 7, 6),
    *,
    storage: VideoStorage | ImageStorage | None = None,
    cameras=CAMERAS,
    action=ACTION,
    state=STATE,
    **limits,
) -> list[Episode]:
    """Stage and assemble episodes of these lengths into `root`; returns them."""
    storage = VideoStorage(codec="h264") if storage is None else storage
    episodes = [episode(k, n, cameras=cameras, action=action, state=state) for k, n in enumerate(lengths)]
    staging = root.parent / f"staging-{root.name}"
    folders = [staging / f"{k:03d}" for k in range(len(episodes))]
    for folder, one in zip(folders, episodes, strict=True):
        stage_episode(folder, one, fps=FPS, storage=storage)
    card = robot(cameras=cameras, action=action, state=state)
    assemble(folders, root, robot=card, fps=FPS, storage=storage, **limits)
    return episodes
