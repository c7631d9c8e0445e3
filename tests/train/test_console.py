"""What a person sees, and that nobody has to look."""

from __future__ import annotations

import logging
import re

from lara.train.console import ProgressBar, duration, log_lines
from lara.train.report import count, next_command
from tests.train.toy import Toy, run


def without_handlers(monkeypatch):
    """Without pytest's own, beside which `log_lines` would do nothing; they come after the fixtures."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


def test_a_run_says_what_it_is_and_what_came_of_it(tmp_path, monkeypatch, capfd):
    without_handlers(monkeypatch)
    with log_lines():
        run(tmp_path / "run", steps=4, save_every=2)
        run(tmp_path / "run", steps=4)
    lines = capfd.readouterr().err
    for expected in (
        r"toy: Toy: \d+ parameters, \d+ learn \(.*policy\.expert \d+",
        r"data: 1000 samples",
        r"on cpu, fp32: 4 steps of 4 samples; a checkpoint every 2 steps",
        rf"output: {tmp_path}/run",
        r"saved .*/step-00000002\n",
        r"saved .*/step-00000004, validation loss \d",
        r"finished 4 steps in .*: loss \d.*, validation/loss \d",
        rf"next: lara eval client\.checkpoint={tmp_path}/run output={tmp_path}/eval_run",
        r"finished at step 4 on 20\d\d-.*nothing to do",
        r"stage\.steps=8 optim\.schedule_steps=4 .* or optim\.schedule_steps=8",
    ):
        assert re.search(expected, lines), expected
    assert "\r" not in lines  # no bar where there is no terminal
    assert logging.getLogger("lara").handlers == []


def test_a_continued_run_says_from_where(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lara")
    run(tmp_path, steps=2, schedule_steps=4)
    run(tmp_path, steps=4, schedule_steps=4)
    assert "resumed from" in caplog.text
    assert "at step 2 of 4" in caplog.text
    assert "4 samples" in caplog.text


def test_parts_that_were_loaded_are_named(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lara")
    run(tmp_path / "a", steps=1)
    run(tmp_path / "b", steps=1, load={"policy": tmp_path / "a"}, system=Toy(seed=1))
    assert "loaded policy.expert: 4 of 4 tensors" in caplog.text


class Gone:
    """A terminal that was closed."""

    encoding = "utf-8"

    def write(self, text):
        raise BrokenPipeError

    flush = fileno = isatty = lambda self: (_ for _ in ()).throw(BrokenPipeError)


def test_a_reader_that_went_away_ends_nothing(monkeypatch, tmp_path):
    without_handlers(monkeypatch)
    with log_lines():
        monkeypatch.setattr("sys.stderr", Gone())
        bar = ProgressBar(name="x", steps=3, start=0, shown=True)
        bar.advance()
        bar.show(1.0)
        logging.getLogger("lara.train").info("is anybody there")
        bar.close()
        assert run(tmp_path, steps=2).finished
        monkeypatch.undo()


def test_numbers_for_people():
    assert [duration(s) for s in (5, 100, 7300, 200_000)] == ["5 s", "2 min", "2 h 2 min", "2 d 7 h"]
    assert [count(n) for n in (17, 5_300, 2_100_000, 3e9)] == ["17", "5.3 k", "2.1 M", "3 G"]


def test_the_next_command_can_be_typed(tmp_path):
    assert next_command(tmp_path / "a b", ["lam.encoder"]).startswith("lara probe 'checkpoint=")
    assert next_command(tmp_path, ["lam.encoder", "policy.expert"]).startswith("lara eval client.checkpoint=")
