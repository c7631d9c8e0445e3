"""`lara demo`: what it runs, what it writes, and that an interruption leaves no trace in its results."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lara.cli import main
from lara.config.compose import compose, resolved
from lara.runs.book import Book
from lara.studies.demo import plan
from tests.studies.doubles import InThisProcess, Never
from tests.studies.tiny_demo import overrides

ROOT = Path(__file__).parents[2]
# a shell in the background starts its commands deaf to SIGINT; a terminal does not
HEARING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"


def test_every_command_composes_and_the_demo_is_as_long_as_its_page_says(tmp_path):
    config = resolved(compose("demo", [f"output={tmp_path}"]))
    described = plan(config)
    commands = {step.name: step for step in described.steps}
    for step in described.steps:
        root = "train" if step.arguments[0] == "check" else step.arguments[0]
        composed = resolved(compose(root, step.arguments[1:]))
        if step.arguments[0] == "train":
            assert step.trainings == {Path(composed["output"]): composed["stage"]["steps"]}
            assert composed["seed"] == config["seed"]
    assert commands["lara"].trainings == {tmp_path / "lara": config["steps"]}
    assert [phase.workers for phase in described.phases] == [1, config["workers"], 1]
    # the LAM is there before the policy that is aligned with it
    names = [step.name for step in described.steps]
    assert names.index("lam") < names.index("lara") < names.index("eval_lara")


@pytest.mark.timeout(900)
def test_from_nothing_to_a_page_and_nothing_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lara.runs.run.Processes", InThisProcess)
    # one at a time: hydra composes for one thread of a process
    given = ["demo", *overrides(tmp_path / "out", steps=2, episodes=1), "workers=1"]
    assert main(given) == 0
    out = tmp_path / "out"
    assert "report.html" in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["policies"]) == {"lara", "dit_only", "wrong_instruction", "blind"}
    assert summary["policies"]["lara"]["episodes"] == 2
    assert summary["lam"]["pairs"] > 0
    assert str(tmp_path) not in json.dumps(summary)
    assert "seconds" not in json.dumps(summary)
    took = json.loads((out / "cost.json").read_text())
    assert set(took["seconds"]) == {step.name for step in plan(resolved(compose("demo", given[1:]))).steps}
    page = (out / "report.html").read_text()
    assert page.count("<section>") == 6
    assert page.count("<video") >= 2
    assert "<script" not in page
    monkeypatch.setattr("lara.runs.run.Processes", Never)
    assert main(given) == 0
    assert (out / "report.html").read_text() == page


def start(output):
    command = ["-m", "lara.cli", "demo", *overrides(output, steps=40, episodes=3)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (output.parent / f"{output.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", HEARING, sys.executable, *command],
            env=environment,
            stdout=log,
            stderr=log,
            process_group=0,
        )


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_interrupted_twice_by_ctrl_c_it_ends_as_if_it_had_not_been(tmp_path):
    """Once while two trainings run side by side, once in the roll-outs; SIGINT goes to the whole group, as a
    terminal's does."""
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert start(whole).wait() == 0
    moments = [pieces / "dit_only" / "metrics.jsonl", pieces / "eval_lara" / "episodes.jsonl"]
    for moment in moments:
        process = start(pieces)
        while process.poll() is None and not moment.exists():
            time.sleep(0.05)
        assert process.poll() is None, f"ended before {moment} was there"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
        assert not (pieces / "summary.json").exists()
        book = Book(pieces)
        for step in plan(resolved(compose("demo", overrides(pieces, steps=40, episodes=3)))).steps:
            for folder, steps in step.trainings.items():
                if book.finished(step):
                    assert json.loads((folder / "result.json").read_text())["step"] == steps
    assert not Book(pieces).finished(plan(resolved(compose("demo", overrides(pieces, steps=40, episodes=3)))).steps[-1])
    assert start(pieces).wait() == 0
    assert (pieces / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
    for name in ("lam", "lara", "dit_only", "blind"):
        assert (pieces / name / "metrics.jsonl").read_bytes() == (whole / name / "metrics.jsonl").read_bytes(), name
