"""Where numbers go: exactly once each, also after a torn write; optional packages only when asked for."""

from __future__ import annotations

import json
import sys

import pytest

from lara.errors import CheckpointError, MissingExtraError
from lara.train.tracking import JsonlTracker, TensorboardTracker, WandbTracker
from tests.train.toy import run


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def opened(tracker, output, step=0):
    tracker.open(output=output, config={"a": 1}, step=step)
    return tracker


def test_lines_after_the_resumed_step_and_torn_ones_go(tmp_path):
    tracker = opened(JsonlTracker(), tmp_path)
    for step in (1, 2, 3):
        tracker.log(step, {"loss": step / 3, "time/rate": 1.0})
    tracker.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    tracker = opened(JsonlTracker(), tmp_path, step=2)
    tracker.log(3, {"loss": float("nan")})
    tracker.close()
    assert written(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 1 / 3},
        {"step": 2, "loss": 2 / 3},
        {"step": 3, "loss": None},
    ]
    assert [line["step"] for line in written(tmp_path / "timing.jsonl")] == [1, 2]


def test_a_log_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("my notes\n")
    with pytest.raises(CheckpointError, match=r":1: .*move it away"):
        opened(JsonlTracker(), tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == "my notes\n"


class Spy:
    def __init__(self):
        self.events = []

    def open(self, *, output, config, step):
        self.events.append(("open", step))

    def log(self, step, values):
        self.events.append(("log", step, values["loss"]))

    def close(self):
        self.events.append(("close",))


def test_every_tracker_hears_the_same_and_is_closed_even_after_an_error(tmp_path):
    spy = Spy()
    run(tmp_path / "a", steps=3, log_every=1, trackers=[spy])
    losses = [line["loss"] for line in written(tmp_path / "a" / "metrics.jsonl")]
    assert spy.events == [("open", 0), *(("log", k + 1, loss) for k, loss in enumerate(losses)), ("close",)]

    class Breaks(Spy):
        def log(self, step, values):
            raise KeyError

    broken = Breaks()
    with pytest.raises(KeyError):
        run(tmp_path / "b", steps=3, log_every=1, trackers=[broken])
    assert broken.events[-1] == ("close",)


def test_tensorboard_holds_every_number(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, steps=3, log_every=1, trackers=[TensorboardTracker()])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [line["loss"] for line in written(tmp_path / "metrics.jsonl")]
    assert [e.step for e in events.Scalars("loss")] == [1, 2, 3]
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(losses, rel=1e-6)


def test_wandb_keeps_its_id(tmp_path):
    pytest.importorskip("wandb")
    ids = []
    for step in (0, 5):
        tracker = opened(WandbTracker(mode="disabled"), tmp_path, step=step)
        tracker.log(step + 1, {"loss": 1.0})
        tracker.close()
        ids.append((tmp_path / "wandb-id.txt").read_text())
    assert ids[0] == ids[1] != ""
    assert WandbTracker().mode == "offline"


@pytest.mark.parametrize(
    ("tracker", "module", "extra"),
    [(TensorboardTracker(), "torch.utils.tensorboard", "tensorboard"), (WandbTracker(), "wandb", "wandb")],
)
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, tracker, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"\.\[{extra}\]"):
        opened(tracker, tmp_path)
