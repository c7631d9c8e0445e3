from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lara.errors import SpecError
from lara.serve.client import PolicyClient, card_from_dict, check_actions, resize_area
from sim_eval.benchmark import Benchmark
from sim_eval.toy import ACTION, Reach, ReachPolicy


def test_a_card_survives_json():
    card = ReachPolicy().card()
    assert card_from_dict(json.loads(json.dumps(card.to_dict()))) == card
    with pytest.raises(SpecError, match="horizon"):
        card_from_dict({k: v for k, v in card.to_dict().items() if k != "horizon"})
    with pytest.raises(SpecError, match="horizon of at least 1"):
        replace(card, horizon=0)


def test_actions_are_clipped_and_counted():
    chunk = np.array([[0.5, -3.0], [1.0, 1.5]])
    checked, count = check_actions(chunk, ACTION)
    assert checked.dtype == np.float32
    assert np.array_equal(checked, [[0.5, -1.0], [1.0, 1.0]])
    assert count == 2
    assert check_actions(checked, ACTION)[1] == 0


@pytest.mark.parametrize(
    "chunk",
    [np.zeros((0, 2)), np.zeros((3, 3)), np.zeros(2), np.zeros((1, 2), np.int64), np.array([[np.nan, 0]])],
)
def test_actions_of_the_wrong_kind_are_errors(chunk):
    with pytest.raises(SpecError):
        check_actions(chunk, ACTION)


def test_shrinking_by_area_is_the_mean_of_blocks():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    small = resize_area(image, 4)
    assert small.dtype == np.uint8
    for i, j in ((0, 0), (3, 2)):
        block = image[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].reshape(-1, 3)
        assert np.array_equal(small[i, j], np.rint(block.mean(axis=0)))
    assert resize_area(image, 12) is image
    with pytest.raises(SpecError, match="multiple of 5"):
        resize_area(image, 5)


def test_the_toy_fulfils_the_contracts():
    world = Reach(goal_seed=0, cameras=("top",), image_size=8, camera_positions={}, render_profile="fast")
    assert isinstance(world, Benchmark)
    assert isinstance(ReachPolicy(), PolicyClient)


def test_neither_the_client_nor_the_evaluator_brings_torch():
    code = "import sys, sim_eval.run, sim_eval.toy, sim_eval.metaworld.demonstrator; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
