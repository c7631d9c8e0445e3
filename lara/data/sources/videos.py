"""A plain folder of videos as a dataset: no actions, no state, one episode per file; and opening either kind."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lara.data.frames.decode import PyAVReader
from lara.data.frames.encode import require_av
from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.episode_row import EpisodeRow
from lara.data.sources.lerobot.keys import Keys, Vector
from lara.data.sources.lerobot.metadata import Tasks
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.lerobot.source import LeRobotSource
from lara.data.sources.source import EpisodeArrays, Finding
from lara.errors import DataError
from lara.store.records import read_json

CAMERA = "video"
INSTRUCTIONS = "instructions.json"


class VideoFolder(LeRobotSource):
    """Made by `open_videos`. It has no tables: `EpisodeRow.data` is the video, and the counters follow from the row."""

    def arrays(self, episode: int) -> EpisodeArrays:
        """T rows: S = A = 0."""
        row = self._row(episode)
        return self._rows(np.full(row.length, self.tasks.index(row.tasks[0])), np.arange(row.length) / self.fps)

    def all_arrays(self) -> EpisodeArrays:
        """`arrays` of all episodes, one after the other."""
        places = {text: place for place, text in enumerate(self.tasks)}
        lengths = [row.length for row in self.rows]
        frame = np.concatenate([np.arange(length) for length in lengths])
        return self._rows(np.repeat([places[row.tasks[0]] for row in self.rows], lengths), frame / self.fps)

    def _rows(self, task: np.ndarray, times: np.ndarray) -> EpisodeArrays:
        none = np.zeros((len(task), 0), np.float32)
        return EpisodeArrays(
            state=none, actions=none, real=np.zeros(len(task), bool), task_index=task.astype(np.int64), timestamp=times
        )

    def tables(self) -> dict[Path, int]:
        """None."""
        return {}

    def offsets_of(self, episode: int) -> None:
        """A video's frames are its episode's rows."""

    def findings(self, *, decode: bool, cameras: Collection[str]) -> Iterator[Finding]:
        """See `Source.findings`."""
        for row in self.rows if CAMERA in cameras else ():
            try:
                count = self.reader.count(row.data)
                if count != row.length:
                    raise DataError(f"{row.data}: had {row.length} frames, has {count} now; open the folder again")
                for begin in range(0, row.length if decode else 0, 256):
                    self.frames(row.index, CAMERA, np.arange(begin, min(begin + 256, row.length)))
            except DataError as fault:
                yield Finding(severity="error", kind="video file", where=str(row.data), said=str(fault))


def open_source(root: Path | str) -> LeRobotSource:
    """A LeRobotDataset v3.0, or else a folder of videos. Raises DataError when it is neither.

    One with a meta/ and no info.json is a damaged dataset, not a folder of videos.
    """
    return open_dataset(root) if (Path(root) / paths.INFO).parent.is_dir() else open_videos(root)


def open_videos(folder: Path | str) -> VideoFolder:
    """Every *.mp4 below `folder`, in the order of their relative paths, as the episodes of one camera named "video".

    All must share one constant frame rate and one size, because a gap of so many frames and a frame's shape must mean
    one thing in a dataset. instructions.json in the folder may give {relative path: instruction}, then for every file;
    without it all instructions are empty. Raises DataError naming the file for anything else.
    """
    root = Path(folder)
    found = sorted(root.rglob("*.mp4"), key=lambda p: p.relative_to(root).as_posix())
    if not found:
        raise DataError(f"{root}: expected a LeRobotDataset or a folder of *.mp4 files, found neither")
    texts = _instructions(root, [p.relative_to(root).as_posix() for p in found])
    tasks = tuple(dict.fromkeys(texts))
    reader, episodes, start = PyAVReader(), [], 0
    first = _facts(found[0])
    for k, (path, text) in enumerate(zip(found, texts, strict=True)):
        facts = _facts(path)
        for name in ("fps", "height", "width"):
            if facts[name] != first[name]:
                raise DataError(
                    f"{path}: {name} is {facts[name]}, that of {found[0].name} is {first[name]}; make videos of "
                    "different rates or sizes different folders"
                )
        times = reader.times(path)
        _require_steady(path, times, facts["fps"])
        length = len(times)
        episodes.append(
            EpisodeRow(
                index=k,
                number=k,
                length=length,
                start=start,
                tasks=(text,),
                data=path,
                first_row=0,
                videos={CAMERA: path},
                begins={CAMERA: float(times[0])},
                spans={CAMERA: length},
                info={"file": path.relative_to(root).as_posix()},
            )
        )
        start += length
    reader.close()
    info: dict[str, Any] = {
        "codebase_version": paths.VERSION,
        "robot_type": None,
        "fps": first["fps"],
        "features": {
            paths.CAMERA_PREFIX + CAMERA: {
                "dtype": "video",
                "shape": [first["height"], first["width"], 3],
                "names": ["height", "width", "channels"],
            },
            **paths.DEFAULT_FEATURES,
        },
    }
    return VideoFolder(
        root=root,
        info=info,
        keys=Keys(action=Vector(), state=Vector(), cameras={CAMERA: paths.CAMERA_PREFIX + CAMERA}),
        tasks=Tasks(texts=tasks, numbers=np.arange(len(tasks))),
        episodes=tuple(episodes),
        robot=None,
    )


def is_lerobot(root: Path | str) -> bool:
    return (Path(root) / paths.INFO).is_file()


def _facts(path: Path) -> dict[str, Any]:
    """fps, and size in pixels."""
    av = require_av("reading video")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.average_rate is None:
                raise DataError(f"{path}: states no frame rate; encode it again at a constant one")
            return {"fps": float(stream.average_rate), "height": stream.height, "width": stream.width}
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise DataError(f"{path}: expected a readable video, but it is damaged or cut short ({error})") from error


def _require_steady(path: Path, times: np.ndarray, fps: float) -> None:
    off = np.abs(times - times[0] - np.arange(len(times)) / fps)
    if off.max() > 0.25 / fps:
        k = int(np.argmax(off > 0.25 / fps))
        raise DataError(
            f"{path}: frame {k} is shown at {times[k] - times[0]:.4f} s, at a constant {fps:g} fps it would be at "
            f"{k / fps:.4f} s; its rate varies, so encode it again at a constant one (ffmpeg -i IN -vf fps={fps:g} OUT)"
        )


def _instructions(root: Path, names: list[str]) -> list[str]:
    path = root / INSTRUCTIONS
    if not path.exists():
        return [""] * len(names)
    given = read_json(path, DataError)
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        raise DataError(f"{path}: expected one JSON object from relative paths to instructions")
    without, unknown = sorted(set(names) - set(given)), sorted(set(given) - set(names))
    if without or unknown:
        raise DataError(f"{path}: {len(without)} videos have no instruction ({without[:3]}), unknown: {unknown[:3]}")
    return [given[name] for name in names]
