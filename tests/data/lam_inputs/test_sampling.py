import numpy as np
import pytest

from lara.data.lam_inputs.sampling import Between, Clip, Pair, Triplet
from lara.errors import ConfigError

INDEX = np.arange(5000)


def test_a_pair_is_now_and_one_gap_later():
    assert Pair(gap=5).offsets(INDEX[:2], seed=0, step=0).tolist() == [[0, 5], [0, 5]]


def test_a_clip_is_evenly_spaced_and_a_pair_is_a_clip_of_two():
    offsets = Clip(count=5, gap=3).offsets(INDEX[:2], seed=0, step=0)
    assert offsets.tolist() == [[0, 3, 6, 9, 12]] * 2
    assert Clip(count=4).offsets(INDEX[:1], seed=0, step=0).tolist() == [[0, 1, 2, 3]]
    assert np.array_equal(
        Clip(count=2, gap=7).offsets(INDEX, seed=0, step=0), Pair(gap=7).offsets(INDEX, seed=0, step=0)
    )


def test_triplets_rise_and_their_gaps_are_uniform_and_apart():
    offsets = Triplet(low=1, high=4).offsets(INDEX, seed=0, step=0)
    first, second = offsets[:, 1], offsets[:, 2] - offsets[:, 1]
    assert (offsets[:, 0] == 0).all()
    for gap in (first, second):
        counts = np.bincount(gap, minlength=5)[1:]
        assert (np.abs(counts / 1250 - 1) < 0.1).all()
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_a_draw_is_a_function_of_seed_step_and_sample_alone():
    draw = Triplet(low=1, high=16).offsets
    whole = draw(INDEX, seed=3, step=7)
    assert np.array_equal(whole[100:110], draw(INDEX[100:110], seed=3, step=7))
    assert not np.array_equal(whole, draw(INDEX, seed=3, step=8))
    assert not np.array_equal(whole, draw(INDEX, seed=4, step=7))


def test_a_stride_skips_frames_and_draws_the_same_gaps():
    plain = Triplet(low=1, high=16).offsets(INDEX, seed=0, step=0)
    assert np.array_equal(Triplet(low=1, high=16, stride=5).offsets(INDEX, seed=0, step=0), 5 * plain)


def test_equal_gaps_are_equal():
    offsets = Triplet(low=2, high=9, equal=True).offsets(INDEX, seed=0, step=0)
    assert (offsets[:, 2] == 2 * offsets[:, 1]).all()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Pair(gap=0),
        lambda: Clip(count=3, gap=0),
        lambda: Clip(count=0),
        lambda: Triplet(low=0, high=3),
        lambda: Triplet(low=4, high=3),
        lambda: Triplet(low=1, high=3, stride=0),
    ],
)
def test_impossible_gaps_are_refused(build):
    with pytest.raises(ConfigError, match="gap"):
        build()


def test_a_clip_is_evenly_spaced_and_starts_now():
    index = np.array([3, 90])
    assert Clip(count=4, gap=2).offsets(index, seed=0, step=5).tolist() == [[0, 2, 4, 6]] * 2
    assert np.array_equal(
        Clip(count=2, gap=7).offsets(index, seed=0, step=0), Pair(gap=7).offsets(index, seed=1, step=1)
    )
    for wrong in ({"count": 1}, {"count": 3, "gap": 0}):
        with pytest.raises(ConfigError, match="at least 2 frames"):
            Clip(**wrong)


def test_a_frame_between_two_lies_anywhere_between_them():
    offsets = Between(gap=5).offsets(INDEX, seed=0, step=0)
    assert (offsets[:, 0] == 0).all()
    assert (offsets[:, 2] == 5).all()
    counts = np.bincount(offsets[:, 1], minlength=6)
    assert counts[[0, 5]].tolist() == [0, 0]
    assert (np.abs(counts[1:5] / 1250 - 1) < 0.1).all()
    assert np.array_equal(offsets[7:9], Between(gap=5).offsets(INDEX[7:9], seed=0, step=0))
    with pytest.raises(ConfigError, match="at least 2 apart"):
        Between(gap=1)
