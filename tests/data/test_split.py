"""The split follows the episode, not its place, and never holds out far more than it was asked to."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lara.data.split import split_episodes
from lara.errors import ConfigError

episodes = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 40).map(str)), min_size=1, max_size=60)
fractions = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.9])
seeds = st.integers(0, 5)


def sides(some, *, fraction, seed=0):
    """(training, held out), as sets of (task, fingerprint)."""
    train, held = split_episodes([t for t, _ in some], [f for _, f in some], validation_fraction=fraction, seed=seed)
    assert sorted(train + held) == list(range(len(some)))
    return {some[k] for k in train}, {some[k] for k in held}


@settings(max_examples=60, deadline=None)
@given(episodes=episodes, seed=seeds, fraction=fractions, shuffle=st.randoms())
def test_order_does_not_matter_and_no_episode_is_on_both_sides(episodes, seed, fraction, shuffle):
    train, held = sides(episodes, fraction=fraction, seed=seed)
    assert not {f for _, f in train} & {f for _, f in held}  # a duplicate never leaks, not even under another task
    shuffled = list(episodes)
    shuffle.shuffle(shuffled)
    assert sides(shuffled, fraction=fraction, seed=seed) == (train, held)
    assert {task for task, _ in train} == {task for task, _ in episodes}  # every task keeps one


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(1, 45), min_size=1, max_size=30), seed=seeds, fraction=fractions)
def test_the_share_is_the_one_asked_for(sizes, seed, fraction):
    some = [(f"task {t}", f"{t} {k}") for t, size in enumerate(sizes) for k in range(size)]
    held = sides(some, fraction=fraction, seed=seed)[1]
    of_task = Counter(task for task, _ in held)
    large = [n for n in sizes if fraction * n >= 1]
    for task, size in enumerate(sizes):
        count = of_task[f"task {task}"]
        if fraction * size >= 1:
            assert abs(count - min(fraction * size, size - 1)) <= 0.5 + 1e-9
        else:
            assert count <= min(1, size - 1)
    small = sum(sizes) - sum(large)
    from_small = len(held) - sum(of_task[f"task {t}"] for t, n in enumerate(sizes) if fraction * n >= 1)
    could = sum(n >= 2 for n in sizes if fraction * n < 1)
    if fraction == 0:
        assert not held
    else:
        assert from_small <= fraction * small + 1  # never far above
        assert from_small >= min(could, fraction * small - 0.5 - 1e-9)  # nor below what the tasks can give
        assert held or not any(n >= 2 for n in sizes)  # whoever asks for a share gets something to look at


def test_two_episodes_of_each_task_hold_out_the_share_and_not_half():
    some = [(f"task {t}", f"{t} {k}") for t in range(1000) for k in range(2)]
    held = sides(some, fraction=0.05)[1]
    assert len(held) == 100
    assert len({task for task, _ in held}) == 100
    assert len({int(task.split()[1]) // 100 for task, _ in held}) == 10  # spread, not the first hundred


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(1, 25), min_size=1, max_size=12), seed=seeds, fraction=fractions, where=st.data())
def test_a_new_episode_moves_at_most_two_others(sizes, seed, fraction, where):
    some = [(f"task {t}", f"{t} {k}") for t, size in enumerate(sizes) for k in range(size)]
    task = where.draw(st.integers(0, len(sizes)))
    more = [*some, (f"task {task}", "new")]
    before, after = sides(some, fraction=fraction, seed=seed)[1], sides(more, fraction=fraction, seed=seed)[1]
    assert len((before ^ after) - {more[-1]}) <= 2


def _split_of_version_one(tasks, fingerprints, *, fraction, seed):
    """Who was held out while every task rounded by itself: written down because published figures rest on it."""
    held = []
    for task in set(tasks):
        mine = [k for k, t in enumerate(tasks) if t == task]
        order = sorted(mine, key=lambda k: hashlib.sha256(f"{seed}\0{task}\0{fingerprints[k]}".encode()).hexdigest())
        held += order[: min(max(round(fraction * len(mine)), 1), len(mine) - 1)]
    return sorted(held)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("fraction", "least"), [(0.1, 10), (0.05, 20), (0.3, 4), (0.5, 2)])
def test_tasks_with_enough_episodes_hold_out_who_they_always_did(fraction, least, seed):
    sizes = np.random.default_rng(seed).integers(least, 3 * least, 8)
    tasks = [f"task {t}" for t, size in enumerate(sizes) for _ in range(size)]
    prints = [str(k) for k in range(len(tasks))]
    held = split_episodes(tasks, prints, validation_fraction=fraction, seed=seed)[1]
    assert held == _split_of_version_one(tasks, prints, fraction=fraction, seed=seed)


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
