"""The split follows the episode, not its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lara.data.split import split_episodes
from lara.errors import ConfigError

episodes = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30).map(str)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(episodes=episodes, seed=st.integers(0, 5), fraction=st.sampled_from([0.0, 0.1, 0.3, 0.9]), shuffle=st.randoms())
def test_order_does_not_matter_and_sides_are_disjoint(episodes, seed, fraction, shuffle):
    def sides(some):
        train, held = split_episodes(
            [t for t, _ in some], [f for _, f in some], validation_fraction=fraction, seed=seed
        )
        assert sorted(train + held) == list(range(len(some)))
        return {some[k] for k in train}, {some[k] for k in held}

    train, held = sides(episodes)
    assert not train & held  # a duplicated episode never leaks
    shuffled = list(episodes)
    shuffle.shuffle(shuffled)
    assert sides(shuffled) == (train, held)
    for task in "ab":
        distinct = {e for e in episodes if e[0] == task}
        count = len({e for e in held if e[0] == task})
        if fraction == 0 or len(distinct) < 2:
            assert count == 0
        else:
            assert 1 <= count < len(distinct)
            assert abs(count - fraction * len(distinct)) <= 1


def test_a_smaller_limit_is_contained_in_a_larger_and_validation_stays():
    tasks, prints = ["a"] * 40 + ["b"] * 3, [str(k) for k in range(43)]
    before: set[int] = set()
    _, held = split_episodes(tasks, prints, validation_fraction=0.2, seed=0)
    for limit in (1, 2, 5, 10, 100, None):
        train, still = split_episodes(tasks, prints, validation_fraction=0.2, seed=0, max_episodes_per_task=limit)
        assert still == held
        assert before <= set(train)
        counts = np.unique([tasks[k] for k in train], return_counts=True)[1]
        assert limit is None or counts.max() <= limit
        before = set(train)


def test_seeds_give_other_splits_and_bad_settings_are_refused():
    tasks, prints = ["a"] * 30, [str(k) for k in range(30)]
    splits = {tuple(split_episodes(tasks, prints, validation_fraction=0.3, seed=s)[1]) for s in range(5)}
    assert len(splits) == 5
    for wrong in ({"validation_fraction": 1.0}, {"validation_fraction": -0.1}, {"max_episodes_per_task": 0}):
        with pytest.raises(ConfigError):
            split_episodes(tasks, prints, **{"validation_fraction": 0.1, "seed": 0, **wrong})
