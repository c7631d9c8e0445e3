"""A log of numbers is read back as what it is; a line that somebody changed is named, never counted."""

import json

import pytest

from lara.errors import CheckpointError, DataError
from lara.runs.progress import last_step
from lara.store.metrics import METRICS, read_metrics
from lara.studies.metrics import read_metric, tail_mean
from lara.train.tracking import JsonlTracker

GOOD = '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": null, "align": 1}\n{"step": 4, "loss": 0.25}\n'
CHANGED = {
    "no JSON": "loss 0.5",
    "no mapping": "[1, 2]",
    "no step": '{"loss": 0.5}',
    "a step in words": '{"step": "3"}',
    "half a step": '{"step": 2.5}',
    "a step that is true": '{"step": true}',
    "a step before the first": '{"step": -1}',
    "a loss in words": '{"step": 3, "loss": "0.5"}',
    "a loss that JSON has not": '{"step": 3, "loss": NaN}',
    "a step twice": '{"step": 3, "step": 4}',
}


def log(folder, text):
    (folder / METRICS).write_text(text)
    return folder


def test_what_was_logged_is_read_back(tmp_path):
    tracker = JsonlTracker()
    tracker.open(output=tmp_path, config={}, step=0)
    tracker.log(1, {"loss": 0.5, "time/step": 2.0})
    tracker.log(2, {"loss": float("inf")})
    tracker.close()
    assert read_metrics(tmp_path / METRICS, DataError).records == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    assert last_step(tmp_path) == 2


def test_steps_values_and_means_leave_out_what_was_not_finite(tmp_path):
    log(tmp_path, GOOD)
    assert read_metric(tmp_path, "loss") == ([1, 4], [0.5, 0.25])
    assert tail_mean(tmp_path, "loss") == 0.25
    assert tail_mean(tmp_path, "nothing") is None


def test_a_run_without_a_log_or_with_half_a_line_is_at_its_last_whole_step(tmp_path):
    assert last_step(tmp_path) == 0
    assert last_step(log(tmp_path, '{"step": 3')) == 0
    assert last_step(log(tmp_path, GOOD + '{"step": 5, "lo')) == 4


@pytest.mark.parametrize("line", CHANGED.values(), ids=CHANGED.keys())
def test_a_changed_line_is_named_by_file_and_line(tmp_path, line):
    log(tmp_path, json.dumps({"step": 1, "loss": 0.5}) + "\n" + line + "\n")
    tracker = JsonlTracker()
    for read in (
        lambda: last_step(tmp_path),
        lambda: read_metric(tmp_path, "loss"),
        lambda: tracker.open(output=tmp_path, config={}, step=1),
    ):
        with pytest.raises(CheckpointError, match=rf"{METRICS}:2"):
            read()
