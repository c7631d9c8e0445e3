"""Read exact frames through torchcodec, which needs the system's FFmpeg libraries."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lara.errors import DataError, MissingExtraError, missing_extra
from lara.faults import refused

# one black frame of 16 x 16 pixels that any FFmpeg reads and no codec decodes
_ONE_FRAME = b"YUV4MPEG2 W16 H16 F1:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(16 * 16 * 3 // 2)


@cache
def require_torchcodec() -> Any:
    """torchcodec's `VideoDecoder`, after it has decoded a frame: it imports without the FFmpeg libraries that it needs.

    Raises MissingExtraError saying what is missing, the package or the system's libraries.
    """
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder(_ONE_FRAME).get_frame_at(0)
    except ImportError as error:
        raise missing_extra("torchcodec", "torchcodec", "reading video with torchcodec") from error
    except (RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise MissingExtraError(
            "torchcodec is installed and decodes nothing here: it needs the shared libraries of FFmpeg 4 to 9 (Debian: "
            f"apt-get install ffmpeg), or read with PyAV, which brings its own. It said: {said}"
        ) from error
    return VideoDecoder


class TorchCodecReader:
    """`frames.decode.VideoReader` over torchcodec (needs the system's FFmpeg), exact seek mode, every time checked."""

    def __init__(self, max_open: int = 16) -> None:
        self._max_open = max_open
        self._decoders: OrderedDict[Path, Any] = OrderedDict()
        self._inherited: list[OrderedDict[Path, Any]] = []
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_max_open": self._max_open, "_decoders": OrderedDict(), "_inherited": [], "_process": os.getpid()}

    def count(self, path: Path) -> int:
        """See `VideoReader.count`."""
        return int(self._decoder(path).metadata.num_frames)

    def frames(self, path: Path, times: np.ndarray, *, tolerance: float) -> np.ndarray:
        """See `VideoReader.frames`."""
        times = np.asarray(times, np.float64)
        decoder = self._decoder(path)
        end = decoder.metadata.end_stream_seconds
        # Aim a little inside each frame, so that rounding never lands in the one before.
        aims = times + tolerance / 2
        if len(times) == 0 or (aims < 0).any() or (aims >= end).any():
            raise DataError(f"{path}: asked for frames at {times} s, the video runs from 0 to {end} s")
        try:
            batch = decoder.get_frames_played_at(seconds=aims.tolist())
        except (RuntimeError, ValueError, IndexError) as error:
            raise DataError(f"{path}: frames do not decode ({error}); the file is damaged, copy it again") from error
        off = np.abs(batch.pts_seconds.numpy() - times)
        if (off > tolerance).any():
            worst = int(np.argmax(off))
            raise DataError(f"{path}: no frame at {times[worst]:.6f} s; the nearest is {off[worst]:.6f} s away")
        frames: np.ndarray = batch.data.permute(0, 2, 3, 1).contiguous().numpy()
        return frames

    def _decoder(self, path: Path) -> Any:
        make = require_torchcodec()
        if self._process != os.getpid():  # see frames.decode.PyAVReader
            self._inherited = [*self._inherited, self._decoders]
            self._decoders, self._process = OrderedDict(), os.getpid()
        if path not in self._decoders:
            if not path.is_file():
                raise DataError(f"{path}: expected a video file, found nothing; copy it from the source of the dataset")
            try:
                self._decoders[path] = make(str(path), seek_mode="exact", num_ffmpeg_threads=1)
            except (RuntimeError, ValueError, OSError) as error:
                if (known := refused(error)) is not None:
                    raise known from error
                raise DataError(f"{path}: expected a readable video, but it is damaged ({error})") from error
        self._decoders.move_to_end(path)
        while len(self._decoders) > self._max_open:
            self._decoders.popitem(last=False)
        return self._decoders[path]
