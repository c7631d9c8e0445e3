"""Samples per CPU-second from video and from the frame cache, beside the reader that LeRobot's users have."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lara.bench.measure import Rate, interleaved, machine
from lara.bench.readers import LeRobotItself, TorchCodecRule, has_lerobot
from lara.data.episode import Episode
from lara.data.frames.cache import open_or_build
from lara.data.frames.encode import VideoStorage
from lara.data.frames.read import FrameReader
from lara.data.robot import RobotCard
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.lerobot.write import assemble, stage_episode
from lara.data.sources.numbers import Numbers
from lara.specs import ActionSpec, ObservationSpec

FPS = 30.0
LARA, CACHE, RULE, LEROBOT = "lara, video", "lara, frame cache", "torchcodec by LeRobot's rule", "LeRobotDataset"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One dataset: an mp4 per episode and camera."""

    files: int
    cameras: int
    gop: int
    frames: int = 60
    height: int = 256
    width: int = 256
    codec: str = "libsvtav1"

    def said(self) -> str:
        """In words."""
        size = f"{self.height} x {self.width}"
        return f"{self.files} files, {self.cameras} cameras, key frame every {self.gop}, {size}"


def measure(case: Case, *, image_size: int, samples: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Rates of every way over one case.

    Args:
        case: what to read. image_size: what lara resizes to; the others give full size.
        samples: random samples (one frame of every camera) of each round. rounds: see `interleaved`.
        folder: where the dataset is written, and removed from.

    Returns:
        {"case", "warm": {way: Rate}, "cold": {way: Rate}, "ratio": {way: median ratio to `RULE`}}, plain data. Cold is
        one sample of every file with new readers and nothing in the page cache.
    """
    write(folder, case)
    source = open_dataset(folder)
    numbers = Numbers.of(source)
    cameras, total = list(source.cameras), len(numbers.episode)

    def chosen(number: int) -> np.ndarray:
        return np.random.default_rng(number).integers(0, total, samples)

    def of_lara(reader: FrameReader) -> Callable[[int], int]:
        def read(number: int) -> int:
            for frame in chosen(number).tolist():
                reader.read(np.array([[frame]]), cameras, image_size)
            return samples

        return read

    rule = TorchCodecRule(source)

    def of_rule(number: int) -> int:
        for frame in chosen(number).tolist():
            _by_rule(rule, numbers, cameras, frame)
        return samples

    caches = {(c, image_size): open_or_build(source, c, image_size, fit="pad") for c in cameras}
    ways = {
        LARA: of_lara(FrameReader(source, numbers, {}, fit="pad")),
        CACHE: of_lara(FrameReader(source, numbers, caches, fit="pad")),
        RULE: of_rule,
    }
    if has_lerobot():
        theirs = LeRobotItself(folder)

        def of_lerobot(number: int) -> int:
            for frame in chosen(number).tolist():
                theirs.read(frame)
            return samples

        ways[LEROBOT] = of_lerobot
    warm = interleaved(ways, rounds=rounds)
    cold = _cold(folder, numbers, cameras, image_size, rounds=rounds)
    against = LEROBOT if LEROBOT in warm else RULE
    return {
        "case": asdict(case),
        "warm": {name: asdict(Rate.of(rates)) for name, rates in warm.items()},
        "cold": {name: asdict(Rate.of(rates)) for name, rates in cold.items()},
        # round by round, since both stood on the same machine in the same minute
        "ratio": {
            reference: {
                name: asdict(Rate.of([a / b for a, b in zip(warm[name], warm[reference], strict=True)]))
                for name in (LARA, CACHE)
            }
            for reference in {RULE, against}
        },
        "cold ratio": asdict(Rate.of([a / b for a, b in zip(cold[LARA], cold[RULE], strict=True)])),
    }


def _by_rule(rule: TorchCodecRule, numbers: Numbers, cameras: list[str], frame: int) -> None:
    episode = int(numbers.episode[frame])
    for camera in cameras:
        rule.read(episode, camera, [frame - int(numbers.begins[episode])])


def _cold(
    folder: Path, numbers: Numbers, cameras: list[str], image_size: int, *, rounds: int
) -> dict[str, list[float]]:
    firsts = numbers.begins.tolist()

    def of_lara(number: int) -> int:
        _forget(folder)
        reader = FrameReader(open_dataset(folder), numbers, {}, fit="pad")
        for frame in firsts:
            reader.read(np.array([[frame + number]]), cameras, image_size)
        return len(firsts)

    def of_rule(number: int) -> int:
        _forget(folder)
        rule = TorchCodecRule(open_dataset(folder))
        for frame in firsts:
            _by_rule(rule, numbers, cameras, frame + number)
        return len(firsts)

    return interleaved({LARA: of_lara, RULE: of_rule}, rounds=rounds)


def _forget(folder: Path) -> None:
    """Ask the system to drop the files' pages; where it cannot, cold means new readers only."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*.mp4"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write(folder: Path, case: Case) -> None:
    """A LeRobotDataset whose pictures move like a camera over a desk."""
    cameras = tuple(f"camera{k}" for k in range(case.cameras))
    card = RobotCard(
        name="bench",
        action=ActionSpec(
            names=("x", "y"),
            control="delta",
            rotation="none",
            gripper="none",
            low=(-1.0, -1.0),
            high=(1.0, 1.0),
            rate_hz=FPS,
        ),
        observation=ObservationSpec(cameras=cameras, state=("x", "y")),
    )
    storage = VideoStorage(codec=case.codec, gop=case.gop)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        staged = []
        for number in range(case.files):
            episode = Episode(
                images={camera: _film(rng, case) for camera in cameras},
                state=rng.normal(size=(case.frames, 2)).astype(np.float32),
                actions=rng.uniform(-1, 1, (case.frames, 2)).astype(np.float32),
                task="look around",
                info={},
            )
            staged.append(Path(work) / f"{number:05d}")
            stage_episode(staged[-1], episode, fps=FPS, storage=storage)
        assemble(staged, folder, robot=card, fps=FPS, storage=storage, video_file_mb=1e-6)


def _film(rng: np.random.Generator, case: Case) -> np.ndarray:
    coarse = rng.integers(0, 256, (case.height // 8 + 12, case.width // 8 + 12, 3)).astype(np.float32)
    fine: np.ndarray = coarse.repeat(8, 0).repeat(8, 1)
    for axis in (0, 1):  # soft edges, as lenses make them
        fine = (np.roll(fine, 4, axis) + np.roll(fine, -4, axis) + 2 * fine) / 4
    picture = fine.astype(np.uint8)
    moves = np.minimum(np.arange(case.frames), 90)
    return np.stack([picture[k : k + case.height, k // 2 : k // 2 + case.width] for k in moves.tolist()])


def run(cases: list[Case], *, image_size: int, samples: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Every case in turn, each dataset written below `folder` and removed."""
    results = []
    for number, case in enumerate(tqdm(cases, desc="bench loader", unit="case", disable=None)):
        place = folder / f"dataset{number}"  # each its own: LeRobot keeps decoders by path, for the whole process
        try:
            results.append(measure(case, image_size=image_size, samples=samples, rounds=rounds, folder=place))
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return {"machine": machine(), "image_size": image_size, "samples": samples, "rounds": rounds, "results": results}
