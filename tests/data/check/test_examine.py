"""An examination goes on after a fault, counts what training would use, and says everything once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lara.data.check.examine as module
from lara.data.actions.normalize import Statistics
from lara.data.check import text
from lara.data.check.examine import examine, fingerprint
from lara.data.sources.numbers import Numbers
from lara.data.sources.source import Finding
from tests.data.check.worlds import Fake

SETTINGS = {
    "cameras": ("top",),
    "decode": False,
    "validation_fraction": 0.25,
    "seed": 0,
    "max_episodes_per_task": None,
    "modes": ("quantile", "mean_std"),
}
ODD = Finding(severity="unusual", kind="clock jitter", where="set/a.parquet", said="0.1 ms off", count=7)


def lines(found, width=100) -> str:
    return "\n".join(
        [*text.findings_table(found.findings, root=Path("set"), width=width), *text.shares_table(found, width=width)]
    )


def test_a_clean_dataset_is_counted_and_nothing_is_said():
    source = Fake()
    found = examine(source, **SETTINGS)
    assert found.findings == ()
    assert found.count("error") == 0
    assert sum(sum(share.episodes) for share in found.shares) == 4
    assert sum(sum(share.frames) for share in found.shares) == 26
    assert sum(share.episodes[1] for share in found.shares) == 1
    assert text.verdict(found) == "verdict: no errors, nothing unusual: ready to train on"
    assert source.asked == {"decode": False, "cameras": ("top",)}
    assert source.read == 4  # each table once


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_statistics_are_those_of_real_actions_of_training_episodes(kept, monkeypatch):
    monkeypatch.setattr(module, "KEPT", kept)
    source = Fake((6, 8, 5, 7, 9, 4), tasks=("push",), task_of=lambda k: 0)
    found = examine(source, **SETTINGS | {"validation_fraction": 0.0})
    arrays = [source.arrays(k) for k in range(6)]
    actions = np.concatenate([one.actions[one.real] for one in arrays])
    expected = Statistics.of(actions)
    assert found.statistics["action"].q99 == expected.q99
    assert found.statistics["action"].count == len(actions) == 33
    assert found.statistics["state"].max == Statistics.of(np.concatenate([one.state for one in arrays])).max


def test_it_goes_on_after_faults_and_lists_them_all():
    errors = [
        Finding(severity="error", kind="not finite", where=f"episode {k}", said=f"action[0] is nan {k}")
        for k in range(5)
    ]
    found = examine(Fake(said=[ODD, *errors], broken=(1, 3), fails="meta is gone"), **SETTINGS)
    kinds = {finding.kind for finding in found.findings}
    assert kinds == {"clock jitter", "not finite", "unreadable", "unreadable numbers"}
    assert (found.count("error"), found.count("unusual")) == (3, 1)
    assert sum(sum(share.episodes) for share in found.shares) == 2
    table = lines(found)
    assert table.index("not finite") < table.index("clock jitter")  # errors first
    assert "and 2 more" in table
    assert "  a.parquet" in table  # below the root, which stands above the table
    assert "7" in next(line for line in table.splitlines() if line.startswith("unusual"))
    assert text.verdict(found).startswith("verdict: 3 kinds of error, 1 unusual: training refuses")


def test_a_fault_that_the_source_names_is_not_named_twice():
    said = Finding(severity="error", kind="cut", where="x", said="file.parquet: episode 1 is cut short, copy it again")
    found = examine(Fake(said=[said], broken=(1,)), **SETTINGS)
    assert found.findings == (said,)


def test_rows_that_are_not_finite_are_left_out_of_the_statistics():
    actions = np.random.default_rng(0).uniform(-1, 1, (26, 3))
    actions[4, 1] = np.nan
    found = examine(Fake(actions=actions), **SETTINGS | {"validation_fraction": 0.0})
    assert np.isfinite(found.statistics["action"].max).all()
    assert found.statistics["action"].count == 26 - 4 - 1


def test_a_resting_joint_is_remarked_by_name():
    n = 600
    actions = np.random.default_rng(3).uniform(-1, 1, (n, 3))
    actions[:, 2] = 1.569 + np.random.default_rng(4).normal(0, 1e-4, n)
    actions[[100, 101, 300], 2] = -1.6
    found = examine(Fake((200, 200, 200), actions=actions), **SETTINGS | {"validation_fraction": 0.0})
    (remark,) = found.remarks
    assert remark.startswith("action (quantile): a2 is within")


def test_nothing_to_hold_out_is_said():
    found = examine(Fake((5, 5), tasks=("a", "b")), **SETTINGS)
    assert [finding.kind for finding in found.findings] == ["nothing held out"]


def test_video_alone_is_split_too():
    found = examine(Fake(dims=(0, 0)), **SETTINGS)
    assert found.statistics == {}
    assert sum(share.episodes[1] for share in found.shares) == 1


def test_an_episode_is_known_by_what_training_knows_it_by():
    source = Fake()
    arrays = source.arrays(2)
    numbers = Numbers(
        real=arrays.real,
        states=arrays.state,
        actions=arrays.actions,
        task=arrays.task_index,
        episode=np.zeros(5, np.int64),
        begins=np.array([0]),
        ends=np.array([5]),
    )
    assert fingerprint(arrays) == numbers.fingerprint(0)


@pytest.mark.parametrize("width", [60, 100, 200])
def test_tables_fit_the_screen_and_nothing_steers_it(width):
    evil = "\x1b[2J\n\x07" + "wide " * 60
    finding = Finding(severity="error", kind="evil\x1b", where=evil, said=evil)
    found = examine(Fake(tasks=(evil, "b" * 300), said=[finding, ODD]), **SETTINGS)
    table = lines(found, width)
    assert table.isprintable() or {c for c in table if not c.isprintable()} == {"\n"}
    assert max(map(len, table.splitlines())) <= max(width, 90)


def test_many_instructions_are_summed_up():
    source = Fake([4] * 60, tasks=[f"task {k}" for k in range(60)], task_of=lambda k: k)
    table = lines(examine(source, **SETTINGS))
    assert "and 40 more" in table
    assert len(table.splitlines()) < 30
