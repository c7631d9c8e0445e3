"""One episode of a source, ready to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lara.data.sources.source import Source
from lara.errors import ConfigError


def recording(source: Source, episode: int, *, cameras: Sequence[str], frames: int, command: str) -> dict[str, Any]:
    """What `pages.episode.Recording` wants, as keywords.

    Args:
        source: an opened dataset.
        episode: its number in the source.
        cameras: shown, in order.
        frames: of each camera, evenly over the episode; the first and the last are among them.
        command: shows this again.

    Raises:
        ConfigError: no such episode.
        DataError: its numbers or frames cannot be read.
    """
    if not 0 <= episode < len(source.episodes):
        raise ConfigError(f"{source.root}: has episodes 0..{len(source.episodes) - 1}, got episode={episode}")
    row, arrays = source.episodes[episode], source.arrays(episode)
    when = np.unique(np.linspace(0, row.length - 1, min(frames, row.length)).round().astype(np.int64))
    actions = np.where(arrays.real[:, None], arrays.actions, np.nan)
    texts = list(dict.fromkeys(source.tasks[t] for t in arrays.task_index.tolist() if 0 <= t < len(source.tasks)))
    facts = {
        "dataset": str(source.root),
        "episode": f"{episode} of {len(source.episodes):,}",
        "instruction": " | ".join(texts) or "(no words)",
        "length": f"{row.length:,} frames, {row.length / source.fps:.2f} s at {source.fps:g} fps",
        **{f"pixels of {camera}": source.place(episode, camera) for camera in cameras},
        **{str(key): str(value) for key, value in row.info.items()},
    }
    if not arrays.real.all() and len(source.action_names):
        facts["frames without an action"] = f"{int((~arrays.real).sum()):,}"
    return {
        "name": f"{source.root.name}, episode {episode}",
        "command": command,
        "facts": facts,
        "shots": {
            camera: [
                (image, int(k), float(arrays.timestamp[k]))
                for image, k in zip(source.frames(episode, camera, when), when, strict=True)
            ]
            for camera in cameras
        },
        "seconds": arrays.timestamp.astype(np.float64),
        "action": actions,
        "state": arrays.state,
        "action_names": source.action_names,
        "state_names": source.state_names,
    }
