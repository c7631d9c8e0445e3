"""A run that was interrupted and went on equals one that was not, bit for bit; and the comparison is not blind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time

import pytest
import torch

import lara.train.run
import lara.train.state
from lara.data.loader import batches
from lara.errors import CheckpointError, ConfigError, DataError
from lara.store.checkpoint import read_checkpoint
from lara.store.lock import only_one
from lara.train.result import read_result
from tests.train.toy import Toy, ToyData, run, same_run


class Stop(Exception):
    pass


class Interrupted(ToyData):
    """Raises, or sends a signal, when the batch of a step is asked for."""

    def __init__(self, at: int, number: int | None = None) -> None:
        super().__init__()
        self.at, self.number = at, number

    def loader(self, *, start_step, **rest):
        for k, batch in enumerate(super().loader(start_step=start_step, **rest)):
            if start_step + k == self.at:
                if self.number is None:
                    raise Stop
                os.kill(os.getpid(), self.number)
            yield batch


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return run(tmp_path_factory.mktemp("straight"), steps=9)


def interrupted(path, at, **changes):
    with pytest.raises(Stop):
        run(path, steps=9, data=Interrupted(at), **changes)


def test_two_then_four_equals_four(tmp_path):
    straight = run(tmp_path / "a", steps=4)
    with pytest.raises(Stop):
        run(tmp_path / "b", steps=4, data=Interrupted(3))
    assert read_checkpoint(tmp_path / "b").step == 2
    assert same_run(straight, run(tmp_path / "b", steps=4, system=Toy(seed=99))) == []


@pytest.mark.parametrize("cuts", [[1], [2], [3, 5], [4, 4, 4], [3, 4, 5, 6, 7, 8]])
def test_any_number_of_interruptions_leaves_no_trace(tmp_path, straight, cuts):
    for seed, at in enumerate(cuts):
        interrupted(tmp_path, at, system=Toy(seed=seed if at > 2 and seed else 0))
    resumed = run(tmp_path, steps=9, system=Toy(seed=0 if max(cuts) < 3 else 5))
    assert same_run(straight, resumed) == []
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [3, 6, 9]


@pytest.mark.parametrize(
    ("number", "requeue", "code"),
    [
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 75),
        (signal.SIGINT, False, 130),
        (signal.SIGUSR1, False, 75),
    ],
)
@pytest.mark.parametrize("at", [0, 4])
def test_a_polite_signal_saves_leaves_and_says_so(tmp_path, straight, number, requeue, code, at):
    handler = signal.getsignal(number)
    stopped = run(tmp_path, steps=9, data=Interrupted(at, number), requeue=requeue)
    assert signal.getsignal(number) is handler
    assert not stopped.finished
    assert read_checkpoint(tmp_path).step == stopped.step < 9
    assert (stopped.exit_code, stopped.signal) == (code, number)
    record = {"finished": False, "step": stopped.step, "steps": 9, "exit": code, "signal": number}
    assert read_result(tmp_path) == record
    finished = run(tmp_path, steps=9, system=Toy(seed=1))
    assert finished.finished
    assert same_run(straight, finished) == []
    assert read_result(tmp_path) == {"finished": True, "step": 9, "steps": 9, "exit": 0, "signal": None}


def test_a_run_that_died_does_not_pass_for_one_that_ended(tmp_path):
    interrupted(tmp_path, 3)
    assert read_result(tmp_path) == {"finished": False, "step": 2, "steps": 9, "exit": None, "signal": None}
    assert read_result(tmp_path / "other") is None


def test_more_steps_do_not_bend_the_learning_rate_unasked(tmp_path):
    run(tmp_path / "a", steps=4)
    with pytest.raises(ConfigError) as error:
        run(tmp_path / "a", steps=8)
    assert "jump from 0 to 0.00655 at step 4" in str(error.value)
    assert "optim.schedule_steps=4 " in str(error.value)
    assert "optim.schedule_steps=8 " in str(error.value)
    assert "nothing more would be learned" in str(error.value)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    kept = run(tmp_path / "a", steps=8, schedule_steps=4)
    stretched = run(tmp_path / "b", steps=8, schedule_steps=8)
    assert kept.metrics["lr/main"] == 0.0
    lines = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 4, 6, 8]
    assert lines[2]["lr/main"] > lines[1]["lr/main"] == 0.0
    assert stretched.finished
    run(tmp_path / "c", steps=2, schedule="constant", warmup_steps=1)
    assert run(tmp_path / "c", steps=4, schedule="constant", warmup_steps=1).finished  # no rate depends on the length


def test_a_checkpoint_is_written_after_so_many_minutes(tmp_path):
    run(tmp_path, steps=3, save_every=100, save_minutes=1e-9, keep_last=9)
    assert len(list((tmp_path / "checkpoints").glob("step-*"))) == 3


def test_two_trainings_do_not_share_a_folder(tmp_path):
    run(tmp_path, steps=1)
    child = os.fork()
    if child == 0:
        with only_one(tmp_path, "training"):
            (tmp_path / "held").touch()
            signal.pause()
    try:
        while not (tmp_path / "held").exists():
            time.sleep(0.01)
        with pytest.raises(ConfigError, match=rf"process {child} on .* has been training there"):
            run(tmp_path, steps=2, schedule_steps=2)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert run(tmp_path, steps=2, schedule_steps=2).finished


class Dying(ToyData):
    """Its only loader worker kills itself over the fourth batch, as the kernel does when memory ends."""

    def loader(self, *, start_step, workers, **rest):
        parent = os.getpid()

        def make(step):
            if step == 3 and os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return next(ToyData.loader(self, start_step=step, workers=0, **rest))

        return batches(make, start_step=start_step, workers=workers)


def test_a_dead_loader_worker_is_named_and_the_run_goes_on(tmp_path, straight):
    with pytest.raises(DataError, match=r"loader worker died .*runtime\.workers") as error:
        run(tmp_path, steps=9, data=Dying(), workers=1)
    assert "ame command" in str(error.value)
    assert same_run(straight, run(tmp_path, steps=9)) == []


def test_a_finished_run_is_left_alone(straight):
    def files():  # the lock says who held it last
        return {p: p.read_bytes() for p in straight.output.rglob("*") if p.is_file() and p.name != ".lock"}

    before = files()
    again = run(straight.output, steps=9, system=Toy(seed=1), data=Interrupted(0))
    assert again.finished
    assert again.checkpoint == straight.checkpoint
    assert again.exit_code == 0
    assert files() == before


@pytest.mark.parametrize(
    ("module", "function", "must_differ"),
    [
        (lara.train.state, "restore_parameters", "system.safetensors"),
        (lara.train.state, "restore_buffers", "system.safetensors"),
        (lara.train.state, "restore_optimizer", "system.safetensors"),
        (lara.train.state, "restore_ema", "ema.safetensors"),
        (lara.train.state, "restore_schedule", "system.safetensors"),
        (lara.train.state, "restore_sampler", "system.safetensors"),
        (lara.train.run, "restore_generators", "system.safetensors"),
    ],
)
def test_dropping_any_one_kind_of_state_is_noticed(tmp_path, straight, monkeypatch, module, function, must_differ):
    interrupted(tmp_path, 5)
    monkeypatch.setattr(module, function, lambda *_, **__: None)
    assert must_differ in same_run(straight, run(tmp_path, steps=9, system=Toy(seed=1)))


def test_a_dropped_step_count_is_noticed_before_anything_is_overwritten(tmp_path, monkeypatch):
    interrupted(tmp_path, 5)
    monkeypatch.setattr(lara.train.state, "restore_counters", lambda *_: None)
    with pytest.raises(CheckpointError, match="there already and sound"):
        run(tmp_path, steps=9, system=Toy(seed=1))


def test_another_configuration_is_refused_by_key_and_free_keys_are_not(tmp_path):
    config = {
        "optim": {"lr": 1e-2, "betas": [0.9, 0.95]},
        "runtime": {"log_every": 3},
        "stage": {"steps": 4},
        "output": "a",
    }
    run(tmp_path, steps=2, config=config, schedule_steps=4)
    with pytest.raises(
        ConfigError, match=r"optim\.betas: \[0\.9, 0\.95\] in the checkpoint, \[0\.9, 0\.99\] now"
    ) as error:
        run(tmp_path, steps=4, config={**config, "optim": {"lr": 1e-2, "betas": [0.9, 0.99], "eps": 1}, "output": "b"})
    assert "optim.eps: '(absent)'" in str(error.value)
    assert "optim.lr" not in str(error.value)
    assert "output" not in str(error.value).split("Restore")[0]
    free = {**config, "runtime": {"log_every": 1}, "stage": {"steps": 9}, "output": "b", "tracking": {"x": 1}}
    assert run(tmp_path, steps=4, config=free).step == 4


def test_resume_words(tmp_path):
    with pytest.raises(ConfigError, match="resume=must"):
        run(tmp_path, resume="must")
    with pytest.raises(ConfigError, match=r"auto\|never\|must"):
        run(tmp_path, resume="maybe")
    run(tmp_path, steps=2, resume="never")
    with pytest.raises(ConfigError, match="resume=never"):
        run(tmp_path, steps=2, resume="never")
    assert run(tmp_path, steps=3, schedule_steps=3, resume="must").step == 3


def test_other_data_or_another_system_is_refused(tmp_path):
    run(tmp_path, steps=2, schedule_steps=4)
    with pytest.raises(CheckpointError, match="1000 samples, the data has 999"):
        run(tmp_path, steps=4, data=ToyData(length=999))
    with pytest.raises(CheckpointError, match="moving average"):
        run(tmp_path, steps=4, ema_decay=None)
    with pytest.raises(CheckpointError, match="optimiser"):
        run(tmp_path, steps=4, learn=("policy",), ema_decay=0.9)
    wider = Toy()
    wider.expert.inner = torch.nn.Linear(6, 7)
    with pytest.raises(CheckpointError, match="weights does not fit"):
        run(tmp_path, steps=4, system=wider)


def test_falls_back_to_an_older_sound_checkpoint_and_says_so(tmp_path, straight, caplog):
    interrupted(tmp_path, 6)
    newest = read_checkpoint(tmp_path).path
    (newest / "ema.safetensors").write_bytes(b"torn")
    resumed = run(tmp_path, steps=9, system=Toy(seed=1))
    assert "SKIPPED" in caplog.text
    assert "ema.safetensors has 4 bytes" in caplog.text
    assert same_run(straight, resumed) == []
    assert list((tmp_path / "checkpoints").glob(f"damaged-{newest.name}-*"))


def test_a_run_without_any_sound_checkpoint_does_not_start_over(tmp_path):
    run(tmp_path, steps=4, keep_last=2)
    for path in (tmp_path / "checkpoints").glob("step-*"):
        (path / "train.json").write_text("{}")
    with pytest.raises(CheckpointError, match="none of 2 checkpoints verifies"):
        run(tmp_path, steps=6)
