"""What an episode looked like: an h264 mp4 of the first camera, in real time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lara.errors import ConfigError, MissingExtraError, missing_extra
from lara.store.files import whole_file
from sim_eval.benchmark import Benchmark

FRAMES_PER_SECOND = 20


class EpisodeVideo:
    """Collects frames through `run_episode`'s on_step, and writes them at the end.

    A body of r Hz has every (r / 20)-th step drawn (every step if r < 30), so the video plays in real time.
    """

    def __init__(self, benchmark: Benchmark, path: Path) -> None:
        if not benchmark.observation.cameras:
            raise ConfigError("a video needs a camera, and the protocol has none; set videos=false")
        self._benchmark = benchmark
        self._path = path
        self._stride = max(1, round(benchmark.action.rate_hz / FRAMES_PER_SECOND))
        self._frames: list[np.ndarray] = []

    def on_step(self, step: int) -> None:
        if step % self._stride == 0:
            camera = self._benchmark.observation.cameras[0]
            self._frames.append(self._benchmark.observe((camera,))["images"][camera])

    def write(self) -> None:
        write_video(
            self._path, np.stack(self._frames), fps=max(1, round(self._benchmark.action.rate_hz / self._stride))
        )


def write_video(path: Path, frames: np.ndarray, *, fps: int) -> None:
    """(T, h, w, 3) uint8 -> an h264 mp4, moved into place when complete. Odd sides lose their last row or column."""
    try:
        import av
    except ImportError as error:
        raise missing_extra("av", "video", "writing episode videos") from error
    if "libx264" not in av.codecs_available:
        raise MissingExtraError(
            "this build of PyAV has no encoder 'libx264', which episode videos need; install PyAV from its wheel, "
            "which brings FFmpeg (pip install --force-reinstall --only-binary av av), or set videos=false"
        )
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
