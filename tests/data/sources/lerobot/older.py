"""Datasets in the layouts of LeRobotDataset v2.0 and v2.1, written from our own v3.0 by what is known of the format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lara.data.sources.lerobot.stats import vector_stats
from tests.data import worlds

DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write_older(
    root: Path,
    lengths=(5, 9, 7, 6),
    *,
    version: str = "v2.1",
    modality: dict[str, Any] | None = None,
    **settings: Any,
) -> list:
    """The episodes of `worlds.write`, one parquet and one mp4 per camera for each; returns them."""
    new = root.parent / f"new-{root.name}"
    episodes = worlds.write(new, lengths, data_file_mb=1e-6, video_file_mb=1e-6, **settings)
    info = json.loads((new / "meta/info.json").read_text())
    table = pq.read_table(new / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    cameras = [key for key, f in info["features"].items() if f["dtype"] == "video"]
    (root / "meta").mkdir(parents=True)
    lines, stats, rows = [], [], []
    for k, row in enumerate(table):
        here = {"episode_chunk": k // 1000, "episode_index": k}
        data = root / DATA.format(**here)
        data.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(new / info["data_path"].format(chunk_index=0, file_index=row["data/file_index"]), data)
        for key in cameras:
            old = new / info["video_path"].format(
                video_key=key, chunk_index=0, file_index=row[f"videos/{key}/file_index"]
            )
            video = root / VIDEO.format(video_key=key, **here)
            video.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old, video)
        lines.append({"episode_index": k, "tasks": row["tasks"], "length": row["length"]})
        rows.append({"observation.state": episodes[k].state, "action": episodes[k].actions})
        stats.append({"episode_index": k, "stats": {name: vector_stats(values) for name, values in rows[k].items()}})
    tasks = pq.read_table(new / "meta/tasks.parquet").to_pydict()
    _lines(root / "meta/episodes.jsonl", lines)
    texts = zip(tasks["task_index"], tasks["__index_level_0__"], strict=True)
    _lines(root / "meta/tasks.jsonl", [{"task_index": n, "task": text} for n, text in texts])
    if version == "v2.1":
        _lines(root / "meta/episodes_stats.jsonl", stats)
    else:
        whole = {name: vector_stats(np.concatenate([r[name] for r in rows])) for name in rows[0]}
        (root / "meta/stats.json").write_text(json.dumps(whole))
    old = {"data_files_size_in_mb", "video_files_size_in_mb"}
    info = {key: value for key, value in info.items() if key not in old}
    info |= {"codebase_version": version, "data_path": DATA, "video_path": VIDEO if cameras else None}
    info |= {"total_videos": len(table) * len(cameras), "total_chunks": 1}
    (root / "meta/info.json").write_text(json.dumps(info))
    if modality is not None:
        (root / "meta/modality.json").write_text(json.dumps(modality))
    return episodes


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
