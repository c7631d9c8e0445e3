"""Frames by frame number, from caches where they exist and from the dataset's own files elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lara.data.frames.cache import FrameCache, read_resized
from lara.data.frames.resize import Fit
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Source


class FrameReader:
    """The same bytes from either place: a cache holds what `resize_area` makes of the decoded frame."""

    def __init__(
        self, source: Source, numbers: Numbers, caches: Mapping[tuple[str, int], FrameCache], *, fit: Fit
    ) -> None:
        self._source, self._numbers, self._caches = source, numbers, caches
        self._fit: Fit = fit

    def read(self, when: np.ndarray, cameras: Sequence[str], size: int) -> np.ndarray:
        """(B, F) frame numbers of the dataset -> (B, F, V, size, size, 3) uint8. Raises DataError."""
        out = np.empty((*when.shape, len(cameras), size, size, 3), np.uint8)
        for view, camera in enumerate(cameras):
            out[:, :, view] = self._of(camera, size, when.reshape(-1)).reshape(*when.shape, size, size, 3)
        return out

    def _of(self, camera: str, size: int, when: np.ndarray) -> np.ndarray:
        cache = self._caches.get((camera, size))
        if cache is not None:
            return cache.read(when)
        out = np.empty((len(when), size, size, 3), np.uint8)
        episodes = self._numbers.episode[when]
        for episode in np.unique(episodes):  # one pass through each episode's video serves t and t + gap
            here = episodes == episode
            unique, place = np.unique(when[here] - self._numbers.begins[episode], return_inverse=True)
            out[here] = read_resized(self._source, int(episode), camera, unique, size, fit=self._fit)[place]
        return out
