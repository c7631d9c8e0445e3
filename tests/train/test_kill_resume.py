"""Signals at random instants leave no trace. `python -m tests.train.kill_resume 30` sends more of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("trials", [1, pytest.param(6, marks=pytest.mark.long)])
def test_killed_and_resumed_runs_equal_the_uninterrupted_one(trials):
    # a process of its own, because the runs are forked and pytest may have started threads
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.kill_resume", str(trials)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["identical"] == trials
    assert report["hits"] >= trials
