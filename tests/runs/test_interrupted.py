"""Runs that are really interrupted: a signal to the terminal's process group, at any moment, any number of times."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lara.runs.book import Book
from lara.runs.plan import Arm, Phase, Plan
from lara.runs.processes import Processes
from lara.runs.run import run
from lara.runs.stopping import REQUEUE
from tests.runs.driver import PROGRAM, plan, training

ROOT = Path(__file__).parents[2]
# a shell in the background starts its commands deaf to SIGINT; a terminal does not
HEARING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"


def start(folder):
    """The driver in a process group of its own, as a terminal starts a command."""
    command = [sys.executable, "-c", HEARING, sys.executable, "-m", "tests.runs.driver", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, process_group=0, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def outcome(folder):
    return {p.relative_to(folder): p.read_text() for p in sorted(folder.rglob("*.json")) if p.name != "book.json"}


def trained(folder):
    return sum(len(p.read_text().splitlines()) for p in folder.glob("*/metrics.jsonl"))


def until_signalled(process, folder, steps, number=signal.SIGINT):
    """The exit code after a signal to the whole group, as Ctrl-C sends it, when so many more steps are trained; that of
    the run where it ended before."""
    wanted = trained(folder) + steps
    while process.poll() is None and trained(folder) < wanted:
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, number)
    process.communicate(timeout=60)
    return process.returncode


def test_interrupted_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path):
    whole = tmp_path / "run"
    process = start(whole)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not list(whole.rglob("signals"))
    kept = {str(k): v for k, v in outcome(whole).items()}
    whole.rename(tmp_path / "whole")

    moments = random.Random(0)
    codes = []
    while not codes or codes[-1] != 0:
        assert len(codes) < 40
        codes.append(until_signalled(start(whole), whole, moments.randint(1, 110)))
        book = Book(whole) if (whole / "book.json").exists() else None
        for step in plan(whole).steps if book else ():
            for folder, steps in step.trainings.items():
                if book.finished(step):
                    assert json.loads((folder / "result.json").read_text())["step"] == steps
    assert set(codes) == {130, 0}, codes
    assert len(codes) > 2
    assert {str(k): v for k, v in outcome(whole).items()} == kept
    # each process that was signalled was signalled once: the terminal's own copy does not reach it
    for noted in whole.rglob("signals"):
        processes = [line.split()[0] for line in noted.read_text().splitlines()]
        assert len(processes) == len(set(processes)), noted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, REQUEUE)])
def test_other_signals_are_passed_on_too(tmp_path, number, code):
    process = start(tmp_path)
    assert until_signalled(process, tmp_path, 1, number) == code
    assert {line.split()[1] for p in tmp_path.rglob("signals") for line in p.read_text().splitlines()} == {"15"}
    assert not any(Book(tmp_path).finished(step) for step in plan(tmp_path).steps)


def test_a_second_signal_ends_what_does_not_stop(tmp_path):
    stubborn = "import signal, time; signal.signal(2, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    code = (
        "import sys; from pathlib import Path; from lara.runs.plan import *; from lara.runs.run import run\n"
        "from lara.runs.processes import Processes\n"
        f"step = Step(name='deaf', arguments=('-c', {stubborn!r}))\n"
        "plan = Plan(title='t', phases=(Phase(arms=(Arm(key='a', seed=0, steps=(step,)),)),))\n"
        "sys.exit(run(plan, Path(sys.argv[1]), executor=Processes([sys.executable])).exit_code)\n"
    )
    command = [sys.executable, "-c", HEARING, sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, process_group=0, stdout=subprocess.PIPE)
    log = tmp_path / "logs" / "deaf.log"
    while not (log.exists() and "deaf" in log.read_text()):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_its_time_being_over_is_no_failure(tmp_path):
    arms = tuple(Arm(key=n, seed=0, steps=(training(tmp_path, n, steps=400),)) for n in ("a", "b"))
    slices = Plan(title="test", phases=(Phase(arms=arms, workers=2),))
    codes = []
    while not codes or codes[-1] != 0:
        assert len(codes) < 30
        codes.append(run(slices, tmp_path, minutes=1 / 60, executor=Processes(PROGRAM)).exit_code)
    assert set(codes) == {REQUEUE, 0}
    assert all(json.loads((tmp_path / n / "state.json").read_text())[0] == 400 for n in ("a", "b"))


def test_a_step_that_somebody_else_stopped_is_not_finished_and_nothing_follows_it(tmp_path):
    class Ended(Processes):
        def execute(self, step, log, *, show):
            self.ran = step.name
            return 143

    out = run(plan(tmp_path, workers=1), tmp_path, executor=Ended(PROGRAM))
    assert out.exit_code == 143
    assert not out.finished
    assert [step.name for step in plan(tmp_path).steps if (tmp_path / step.name).exists()] == []
