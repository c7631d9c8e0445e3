"""Normalising is an invertible map on every data set, in numpy and torch, with dimensions that hardly move."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lara.data.actions.normalize import CLIP, Mode, Normalizer, RelativeNormalizer, Statistics
from lara.data.actions.remarks import remarks
from lara.errors import DataError

MODES = get_args(Mode)
numbers = st.floats(-1e4, 1e4, width=32)
vectors = arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=numbers)


@settings(max_examples=80, deadline=None)
@given(data=vectors, mode=st.sampled_from(MODES))
def test_unnormalize_inverts_normalize(data, mode):
    normalizer = Normalizer(Statistics.of(data), mode)
    y = normalizer.normalize(data)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    size = np.maximum(np.abs(data).max(0), np.abs(normalizer.offset)) + 1e-3
    reach = np.minimum(normalizer.limit * normalizer.scale, 1e30)
    expected = data.clip(normalizer.offset - reach, normalizer.offset + reach)  # only the quantile mode cuts
    assert (np.abs(normalizer.unnormalize(y) - expected) <= 2e-5 * size).all()
    assert mode == "quantile" or np.isinf(normalizer.limit).all()
    other = normalizer.normalize(torch.from_numpy(data))
    np.testing.assert_allclose(other.numpy(), y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(normalizer.unnormalize(other).numpy(), normalizer.unnormalize(y), rtol=1e-5, atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(data=vectors)
def test_ranges_are_as_promised(data):
    statistics = Statistics.of(data)
    y = Normalizer(statistics, "min_max").normalize(data.astype(np.float64))
    assert y.min() >= -1 - 1e-6
    assert y.max() <= 1 + 1e-6
    wide = data.max(0) - data.min(0) > 1e-2 * (1 + np.abs(data).max(0))
    np.testing.assert_allclose(y[:, wide].max(0), 1, atol=1e-6)
    np.testing.assert_allclose(y[:, wide].min(0), -1, atol=1e-6)
    z = Normalizer(statistics, "mean_std").normalize(data.astype(np.float64))
    np.testing.assert_allclose(z[:, wide].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(z[:, wide].std(0), 1, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_dimension_that_never_moves_is_only_shifted(mode):
    x = np.stack([np.full(50, 3.7), np.zeros(50), np.linspace(-1, 1, 50)], 1).astype(np.float32)
    x[::2, 0] = np.nextafter(np.float32(3.7), np.float32(4))  # rounding, not movement
    y = Normalizer(Statistics.of(x), mode).normalize(x)
    if mode != "identity":
        assert np.abs(y[:, :2]).max() < 1e-5
    assert np.ptp(y[:, 2]) > 1


def test_a_gripper_that_rarely_closes_keeps_its_range_in_quantile_mode():
    x = np.zeros((1000, 2), np.float32)
    x[:, 1] = np.linspace(-5, 5, 1000)
    x[500, 0] = 1.0  # closed once: q01 = q99 = 0
    y = Normalizer(Statistics.of(x), "quantile").normalize(x)
    assert y[:, 0].min() == -1
    assert y[:, 0].max() == 1
    assert 1 < y[:, 1].max() < 1.1  # a little beyond q99 is kept


def near_constant(n=600):
    """A joint that trembles by 1e-4 rad and moves far in 0.5 % of the frames, beside one that always moves."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (n, 2))
    x[:, 1] = 1.569 + rng.normal(0, 1e-4, n)
    x[[100, 101, 300], 1] = -1.6
    return x


def test_a_joint_that_rests_is_not_blown_up_in_quantile_mode():
    x = near_constant()
    normalizer = Normalizer(Statistics.of(x), "quantile")
    y = normalizer.normalize(x)
    assert np.abs(y).max() < 1.1
    np.testing.assert_allclose(normalizer.unnormalize(y), x, atol=1e-12)  # no move is lost


@settings(max_examples=60, deadline=None)
@given(data=vectors, other=vectors)
def test_quantile_targets_are_bounded_whatever_comes_and_exact_between_the_quantiles(data, other):
    statistics = Statistics.of(data)
    normalizer = Normalizer(statistics, "quantile")
    other = np.resize(other, (len(other), statistics.dim)).astype(np.float64)
    assert np.abs(normalizer.normalize(other)).max(initial=0) <= CLIP
    inside = np.clip(other, statistics.q01, statistics.q99)
    np.testing.assert_allclose(normalizer.unnormalize(normalizer.normalize(inside)), inside, rtol=1e-9, atol=1e-9)
    tensor = normalizer.normalize(torch.from_numpy(other))
    np.testing.assert_allclose(tensor.numpy(), normalizer.normalize(other))


def test_kept_dimensions_are_not_cut():
    x = np.stack([np.linspace(0, 1, 100)] * 2, 1)
    normalizer = Normalizer(Statistics.of(x), "quantile", kept=np.array([True, False]))
    assert normalizer.normalize(np.full((1, 2), 1e3)).tolist() == [[1e3, CLIP]]


def test_remarks_name_the_dimension_and_what_will_happen():
    statistics = Statistics.of(np.concatenate([near_constant(), np.full((600, 1), 0.25)], 1))
    names = ("x", "wrist", "base")
    for mode, words in (("quantile", "scaled by all of that"), ("min_max", "% of [-1, 1]"), ("mean_std", None)):
        said = remarks(statistics, mode, names)
        assert any(line.startswith("base never moves (0.25)") for line in said)
        assert not any(line.startswith("x ") for line in said)
        assert words is None or any(line.startswith("wrist is within [1.56") and words in line for line in said)
    assert remarks(statistics, "identity", names) == []
    with pytest.raises(DataError, match="3 dimensions"):
        remarks(statistics, "quantile", names[:2])


def test_remarks_say_what_is_cut_and_what_is_loud():
    x = np.random.default_rng(0).normal(size=(100_000, 2))
    x[7, 0] = 60.0  # one fault, 13 times as far out as q99
    statistics = Statistics.of(x)
    (cut,) = remarks(statistics, "quantile", ("a", "b"))
    assert cut.startswith("a is within")
    assert "learned as its border" in cut
    (loud,) = remarks(statistics, "mean_std", ("a", "b"))
    assert loud.startswith("a is within")
    assert "standard deviations" in loud
    assert remarks(statistics, "min_max", ("a", "b")) == []
    y = Normalizer(statistics, "quantile").normalize(x)
    assert y[7, 0] == CLIP
    assert (np.abs(y) < CLIP).mean() > 0.999


def test_binary_dimension_maps_to_minus_one_and_one():
    x = np.tile(np.array([[0.0], [1.0]], np.float32), (50, 1))
    for mode in ("min_max", "quantile"):
        assert set(Normalizer(Statistics.of(x), mode).normalize(x).ravel().tolist()) == {-1.0, 1.0}


def test_statistics_survive_json_and_refuse_strangers():
    statistics = Statistics.of(np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32))
    data = json.loads(json.dumps(statistics.to_dict()))
    assert Statistics.from_dict(data) == statistics
    assert statistics.count == 9
    with pytest.raises(DataError, match="keys"):
        Statistics.from_dict({**data, "median": []})
    with pytest.raises(DataError, match="finite"):
        Statistics.from_dict({**data, "mean": [float("nan")] * 3})
    with pytest.raises(DataError, match="one number per dimension"):
        Statistics.from_dict({**data, "mean": [0.0]})


def test_wrong_widths_modes_and_data_are_named():
    statistics = Statistics.of(np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match=r"3 dimensions.* 4"):
        Normalizer(statistics, "min_max").normalize(np.zeros((5, 4), np.float32))
    with pytest.raises(DataError, match="min_max"):
        Normalizer(statistics, "minmax")
    with pytest.raises(DataError):
        Statistics.of(np.zeros((0, 3), np.float32))
    with pytest.raises(DataError, match="finite"):
        Statistics.of(np.array([[np.inf]], np.float32))


def test_no_dimensions_at_all():
    normalizer = Normalizer(Statistics.of(np.zeros((4, 0), np.float32)), "quantile")
    assert normalizer.normalize(np.zeros((4, 0), np.float32)).shape == (4, 0)


def _chunks(n=40, steps=5, dims=3):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(n, dims)) * 3
    walk = np.cumsum(rng.normal(size=(n, steps, dims)), axis=1)
    return states[:, None] * np.array([1.0, 1.0, 0.0]) + walk, states


@pytest.mark.parametrize("mode", ["mean_std", "min_max", "quantile", "identity"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_relative_chunks_come_back_exactly(mode, kind):
    actions, states = _chunks()
    relative = (True, True, False)
    pair = RelativeNormalizer(RelativeNormalizer.fit(actions, states, relative=relative), mode, relative=relative)
    if kind == "torch":
        actions, states = torch.from_numpy(actions), torch.from_numpy(states)
    for steps in (5, 2):
        y = pair.normalize(actions[:, :steps], states)
        np.testing.assert_allclose(pair.unnormalize(y, states), actions[:, :steps], atol=1e-12)


def test_each_step_of_a_relative_dim_has_a_scale_of_its_own_and_an_absolute_dim_one():
    actions, states = _chunks(4000)
    relative = (True, True, False)
    pair = RelativeNormalizer(RelativeNormalizer.fit(actions, states, relative=relative), "mean_std", relative=relative)
    y = pair.normalize(actions, states)
    np.testing.assert_allclose(y[..., :2].std(axis=0), 1.0, atol=1e-9)
    np.testing.assert_allclose(pair.scale[:, 0], np.sqrt(np.arange(1, 6)), rtol=0.1)  # a random walk spreads so
    assert len(set(pair.scale[:, 2])) == 1
    # where the chunk starts does not matter to a relative dim, and does to an absolute one
    moved = pair.normalize(actions + 7.0, states + 7.0)
    np.testing.assert_allclose(moved[..., :2], y[..., :2], atol=1e-9)
    assert abs(moved[..., 2] - y[..., 2]).min() > 1.0


def test_steps_past_an_episodes_end_are_not_counted():
    actions, states = _chunks()
    real = np.ones(actions.shape[:2], bool)
    real[:10, 3:] = False
    spoilt = np.where(real[..., None], actions, 1e6)
    relative = (True, True, False)
    found = RelativeNormalizer.fit(spoilt, states, relative=relative, real=real)
    assert max(found.max) < 1e3
    assert found.count == 30
    with pytest.raises(DataError, match="no chunk has a real step 4"):
        RelativeNormalizer.fit(actions, states, relative=relative, real=np.arange(5) < 4 * np.ones((40, 1)))
    with pytest.raises(DataError, match="relative flags"):
        RelativeNormalizer.fit(actions, states, relative=(True, False))
    pair = RelativeNormalizer(found, "min_max", relative=relative)
    with pytest.raises(DataError, match=r"1\.\.5 steps"):
        pair.normalize(np.zeros((6, 3)), np.zeros(3))
