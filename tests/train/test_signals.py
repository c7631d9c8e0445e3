"""Signals: at once before training, after the step during it, and the exit codes that say so."""

from __future__ import annotations

import os
import signal

import pytest

import lara.launch
from lara.commands.train import main
from lara.train.result import TrainResult
from lara.train.signals import Interrupted, StopRequest, exit_code

ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@pytest.mark.parametrize(
    ("number", "requeue", "code"),
    [
        (None, True, 0),
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGHUP, False, 129),
        (signal.SIGUSR1, False, 75),
        (signal.SIGTERM, True, 75),
        (signal.SIGINT, True, 130),
    ],
)
def test_exit_codes(number, requeue, code):
    assert exit_code(number, requeue=requeue) == code


@pytest.mark.parametrize("number", ALL)
def test_a_signal_interrupts_at_once_outside_and_waits_inside_and_the_second_interrupts(number):
    before = [signal.getsignal(n) for n in ALL]
    with StopRequest() as stop:
        with pytest.raises(Interrupted) as error:
            os.kill(os.getpid(), number)
        assert error.value.number == number
        assert not stop.requested
        with stop.deferred():
            os.kill(os.getpid(), number)
            assert stop.requested
            assert stop.number == number
            with pytest.raises(Interrupted):
                os.kill(os.getpid(), number)
    assert [signal.getsignal(n) for n in ALL] == before


def test_an_ignored_hang_up_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop, stop.deferred():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


SINGLE = ["experiment=demo/dit_only", "data.root=x"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_a_signal_before_the_first_step_ends_the_command_with_its_code(monkeypatch, number, code, caplog):
    monkeypatch.setattr(lara.launch, "launch", lambda config, **_: os.kill(os.getpid(), number))
    assert main(SINGLE) == code
    assert "the same command goes on" in caplog.text


def test_a_stopped_stage_ends_the_command_and_the_next_does_not_begin(monkeypatch, tmp_path):
    begun = []

    def stopped_in_the_second(config, **_):
        begun.append(config["output"])
        step = 10 if len(begun) == 1 else 4
        code = 0 if step == 10 else 143
        return TrainResult(
            output=tmp_path, checkpoint=tmp_path, step=step, steps=10, metrics={}, nonfinite=0, exit_code=code
        )

    monkeypatch.setattr(lara.launch, "launch", stopped_in_the_second)
    assert main(["experiment=rotvla/tiny", "data.root=x", f"output={tmp_path}"]) == 143
    assert [name.rpartition("/")[2] for name in begun] == ["lam", "pretrain"]
