"""Datasets of the arm whose poses are tested."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.actions.arm import LENGTHS, absolute_numbers, arm_card, delta_numbers, near_pi, write_arm


@pytest.fixture(scope="module")
def delta(tmp_path_factory):
    rng = np.random.default_rng(0)
    starts = near_pi(rng, len(LENGTHS) + 2)[2:]
    numbers = [delta_numbers(rng, n, "axis_angle", "axis_angle", r) for n, r in zip(LENGTHS, starts, strict=True)]
    return write_arm(tmp_path_factory.mktemp("pose") / "delta", arm_card(), numbers)


@pytest.fixture(scope="module")
def absolute(tmp_path_factory):
    rng = np.random.default_rng(1)
    card = arm_card("absolute")
    return write_arm(
        tmp_path_factory.mktemp("pose") / "absolute", card, [absolute_numbers(rng, n, "axis_angle") for n in LENGTHS]
    )
