"""lerobot itself (0.4.4 and 0.6.1) opens what we write, and reads the same numbers, sentences and frames."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from lara.data.frames.encode import ImageStorage, VideoStorage
from lara.data.sources.lerobot.read import open_dataset
from tests.data import worlds

PYTHON = os.environ.get("LARA_LEROBOT_PYTHON")
pytestmark = [
    pytest.mark.lerobot,
    pytest.mark.skipif(not PYTHON, reason="LARA_LEROBOT_PYTHON does not name a python that has lerobot"),
]

SCRIPT = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

root, out = sys.argv[1:]
dataset = LeRobotDataset("lara/test", root=root)
cameras = dataset.meta.camera_keys
items = [dataset[i] for i in range(len(dataset))]
np.savez(
    out,
    state=np.stack([x["observation.state"].numpy() for x in items]),
    action=np.stack([x["action"].numpy() for x in items]),
    timestamp=np.array([float(x["timestamp"]) for x in items]),
    episode=np.array([int(x["episode_index"]) for x in items]),
    **{c: np.stack([x[c].numpy() for x in items]) for c in cameras},
)
gap = {c: [0.0, 3 / dataset.fps] for c in cameras}
pairs = LeRobotDataset("lara/test", root=root, delta_timestamps=gap)
stats = {k: {s: np.asarray(v).shape for s, v in g.items()} for k, g in dataset.meta.stats.items()}
print("RESULT " + json.dumps({
    "tasks": [x["task"] for x in items], "fps": dataset.fps, "episodes": dataset.num_episodes, "stats": stats,
    "pair": list(pairs[0][cameras[0]].shape), "names": dataset.meta.names["action"], "robot": dataset.meta.robot_type,
}))
"""


@pytest.mark.parametrize(
    ("storage", "limits"),
    [
        (VideoStorage(), {}),
        (VideoStorage(codec="h264"), {"video_file_mb": 0.003, "data_file_mb": 0.0005}),
        (ImageStorage(), {}),
    ],
    ids=["av1", "h264 in several files", "png"],
)
def test_lerobot_reads_the_same(tmp_path, storage, limits):
    episodes = worlds.write(tmp_path / "set", storage=storage, **limits)
    source = open_dataset(tmp_path / "set")
    if limits:
        assert len(source.files("top")) > 1
        assert len({row.data for row in source.episodes}) > 1
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [PYTHON, "-c", SCRIPT, str(tmp_path / "set"), str(tmp_path / "out.npz")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    facts = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("RESULT "))[7:])
    lengths = [len(e) for e in episodes]
    assert facts["tasks"] == [e.task for e in episodes for _ in range(len(e))]
    assert facts["fps"] == worlds.FPS
    assert facts["episodes"] == len(episodes)
    assert facts["names"] == ["a0", "a1", "a2"]
    assert facts["robot"] == "toy"
    assert facts["pair"] == [2, 3, worlds.SIZE, worlds.SIZE]
    assert facts["stats"]["observation.images.top"]["q01"] == [3, 1, 1]
    assert facts["stats"]["action"]["std"] == [3]
    with np.load(tmp_path / "out.npz", allow_pickle=False) as theirs:
        np.testing.assert_array_equal(theirs["state"], np.concatenate([e.state for e in episodes]))
        np.testing.assert_array_equal(theirs["action"], np.concatenate([e.actions for e in episodes]))
        np.testing.assert_array_equal(theirs["episode"], np.repeat(np.arange(len(lengths)), lengths))
        np.testing.assert_allclose(theirs["timestamp"], np.concatenate([np.arange(n) / worlds.FPS for n in lengths]))
        for camera in worlds.CAMERAS:
            seen = np.round(theirs[f"observation.images.{camera}"].transpose(0, 2, 3, 1) * 255).astype(int)
            ours = np.concatenate([source.frames(k, camera, range(n)) for k, n in enumerate(lengths)])
            truth = np.concatenate([e.images[camera] for e in episodes])
            lossy = isinstance(storage, VideoStorage)
            assert np.abs(seen - ours).max() <= (4 if lossy else 0)  # two converters from YUV to RGB
            assert np.abs(seen - truth).mean() <= (6 if lossy else 0)  # the codec
