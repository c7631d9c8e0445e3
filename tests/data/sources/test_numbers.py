"""All numbers of a dataset by frame number."""

from __future__ import annotations

import numpy as np
import pytest

from lara.data.sources.numbers import Numbers

LENGTHS = np.array([3, 1, 4, 2])


@pytest.mark.parametrize("chosen", [[], [0], [3, 0], [0, 1, 2, 3], [2, 2, 1]])
def test_frames_of_episodes_stand_in_the_order_asked_for(chosen):
    ends, count = np.cumsum(LENGTHS), int(LENGTHS.sum())
    numbers = Numbers(
        states=np.zeros((count, 0), np.float32),
        actions=np.zeros((count, 0), np.float32),
        real=np.zeros(count, bool),
        task=np.zeros(count, np.int64),
        episode=np.repeat(np.arange(len(LENGTHS)), LENGTHS),
        begins=ends - LENGTHS,
        ends=ends,
    )
    frames = numbers.frames_of(chosen)
    assert frames.dtype == np.int64
    assert frames.tolist() == [n for k in chosen for n in range(ends[k] - LENGTHS[k], ends[k])]
