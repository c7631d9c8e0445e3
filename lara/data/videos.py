"""A plain folder of videos as a dataset: no actions, no state, one episode per file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lara.data.atomic import read_json
from lara.data.lerobot import layout
from lara.data.lerobot.source import EpisodeRow, LeRobotSource
from lara.data.video import PyAVReader
from lara.data.video_write import require_av
from lara.errors import DataError

CAMERA = "video"
INSTRUCTIONS = "instructions.json"


def open_videos(folder: Path | str) -> LeRobotSource:
    """Every *.mp4 below `folder`, in the order of their relative paths, as the episodes of one camera named "video".

    All must share frame rate and size, because a gap of so many frames and a frame's shape must mean one thing in a
    dataset. instructions.json in the folder may give {relative path: instruction}, then for every file; without it all
    instructions are empty. Raises DataError naming the file for anything else.
    """
    root = Path(folder)
    paths = sorted(root.rglob("*.mp4"), key=lambda p: p.relative_to(root).as_posix())
    if not paths:
        raise DataError(f"{root}: expected a LeRobotDataset or a folder of *.mp4 files, found neither")
    texts = _instructions(root, [p.relative_to(root).as_posix() for p in paths])
    tasks = tuple(dict.fromkeys(texts))
    reader, episodes, start = PyAVReader(), [], 0
    first = _facts(paths[0])
    for k, (path, text) in enumerate(zip(paths, texts, strict=True)):
        facts = _facts(path)
        for name in ("fps", "height", "width"):
            if facts[name] != first[name]:
                raise DataError(
                    f"{path}: {name} is {facts[name]}, that of {paths[0].name} is {first[name]}; label videos of "
                    "different rates or sizes as different folders"
                )
        length = reader.count(path)
        episodes.append(
            EpisodeRow(
                index=k,
                length=length,
                start=start,
                tasks=(text,),
                data=root / "no-table",
                first_row=start,
                videos={CAMERA: path},
                begins={CAMERA: facts["begin"]},
                info={"file": path.relative_to(root).as_posix()},
            )
        )
        start += length
    reader.close()
    info: dict[str, Any] = {
        "codebase_version": layout.VERSION,
        "robot_type": None,
        "fps": first["fps"],
        "features": {
            layout.CAMERA_PREFIX + CAMERA: {
                "dtype": "video",
                "shape": [first["height"], first["width"], 3],
                "names": ["height", "width", "channels"],
            },
            **layout.DEFAULT_FEATURES,
        },
    }
    return LeRobotSource(root=root, info=info, tasks=tasks, episodes=tuple(episodes), robot=None)


def is_lerobot(root: Path | str) -> bool:
    return (Path(root) / layout.INFO).is_file()


def _facts(path: Path) -> dict[str, Any]:
    """fps, size in pixels, and the time of the first frame in seconds."""
    av = require_av("reading video")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.average_rate is None:
                raise DataError(f"{path}: states no frame rate; encode it again at a constant one")
            begin = float((stream.start_time or 0) * stream.time_base)
            size = {"height": stream.height, "width": stream.width}
            return {"fps": float(stream.average_rate), "begin": begin, **size}
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise DataError(f"{path}: expected a readable video, but it is damaged or cut short ({error})") from error


def _instructions(root: Path, names: list[str]) -> list[str]:
    path = root / INSTRUCTIONS
    if not path.exists():
        return [""] * len(names)
    given = read_json(path)
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        raise DataError(f"{path}: expected one JSON object from relative paths to instructions")
    without, unknown = sorted(set(names) - set(given)), sorted(set(given) - set(names))
    if without or unknown:
        raise DataError(f"{path}: {len(without)} videos have no instruction ({without[:3]}), unknown: {unknown[:3]}")
    return [given[name] for name in names]
