"""On a machine without a system library the error names the library and its package, and never blames the file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


def _without(library, code, *arguments):
    command = [str(ROOT / ".ci" / "without"), library, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)


@pytest.mark.skipif(sys.platform != "linux", reason="hides libraries from Linux's loader")
def test_without_ffmpeg_torchcodec_is_what_is_missing_and_no_file_is_damaged(tmp_path):
    pytest.importorskip("torchcodec")
    pytest.importorskip("av")
    from lara.data.frames.encode import VideoStorage, encode_video

    encode_video(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8), fps=10, storage=VideoStorage(codec="h264"))
    code = (
        "import sys; from pathlib import Path; from lara.data.frames.decode import PyAVReader\n"
        "from lara.data.frames.torchcodec import TorchCodecReader\n"
        "assert PyAVReader().count(Path(sys.argv[1])) == 3; TorchCodecReader().count(Path(sys.argv[1]))"
    )
    done = _without("ffmpeg", code, tmp_path / "a.mp4")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "MissingExtraError" in last
    assert "apt-get install ffmpeg" in last
    assert "damaged" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="hides libraries from Linux's loader")
def test_without_osmesa_the_simulator_names_the_packages():
    pytest.importorskip("OpenGL")
    code = (
        "import os; os.environ['MUJOCO_GL'] = 'osmesa'\n"
        "from sim_eval.metaworld.environment import MetaWorld as M; M(cameras=('corner2',), image_size=32, "
        "camera_positions={}, render_profile='fast', goal_seed=0).reset('reach-v3', 0)"
    )
    done = _without("osmesa", code)
    assert done.returncode == 1
    assert "apt-get install libosmesa6" in done.stderr.strip().splitlines()[-1]
