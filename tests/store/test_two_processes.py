"""Two runs into one folder: the second is refused with the name of the first, and touches nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lara.cli import main
from lara.errors import ConfigError
from lara.store.checkpoint import load_latest
from sim_eval.run import evaluate
from tests.sim_eval.test_run import PROTOCOL, TOY
from tests.store.test_lock import holder
from tests.test_whole_program import SMALL


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def wait_for(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def lara(*arguments):
    command = [sys.executable, "-m", "lara.cli", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ}
    )


def test_the_command_asks_for_the_lock_before_anything_else(tmp_path, capsys):
    output = tmp_path / "run"
    process = holder(output)
    try:
        before = tree(output)
        given = ["train", "experiment=demo/dit_only", f"data.root={tmp_path}/nothing", f"output={output}"]
        assert main(given) == 2
        assert f"process {process.pid} on " in capsys.readouterr().err
        assert tree(output) == before
    finally:
        process.kill()
        process.wait()


@pytest.mark.long
def test_a_second_training_is_refused_and_a_killed_one_goes_on(tmp_path):
    collect = ["collect", "benchmark=toy", "tasks=[reach-red]", "episodes=2", f"output={tmp_path}/data", "processes=1"]
    assert main(collect) == 0
    output = tmp_path / "run"
    given = ["train", "experiment=demo/dit_only", f"data.root={tmp_path}/data", f"output={output}", *SMALL]
    given += ["data.cameras=[top]", "runtime.save_every=1", "runtime.keep_last=3"]
    first = lara(*given, "stage.steps=100000")
    try:
        wait_for(lambda: (output / "checkpoints" / "step-00000003").exists(), first)
        first.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
        before = tree(output)
        second = lara(*given, "stage.steps=100000")
        said = second.communicate(timeout=240)[1]
        assert second.returncode == 2, said
        assert f"process {first.pid} on " in said
        assert "has been training there since" in said
        assert tree(output) == before
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    step = load_latest(output).step
    third = lara(*given, f"stage.steps={step + 1}")
    said = third.communicate(timeout=240)[1]
    assert third.returncode == 0, said
    assert load_latest(output).step == step + 1
    assert not [p for p in output.rglob("*") if p.name.startswith((".tmp-", "damaged-"))]


FIRST = """
import json, sys
from sim_eval.run import evaluate
if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    evaluate(**given, videos=False)
"""


def test_a_second_evaluation_is_refused_and_a_killed_one_goes_on(tmp_path):
    import json

    output, flag, script = tmp_path / "run", tmp_path / "flag", tmp_path / "first.py"
    flag.touch()
    script.write_text(FIRST)
    policy = {"_target_": "sim_eval.faults.FaultyPolicy", "faults": {"2": "hang"}, "while_exists": str(flag)}
    given = {"benchmark": TOY, "policy": policy, "protocol": PROTOCOL.to_dict(), "output": str(output)}
    first = subprocess.Popen(
        [sys.executable, str(script), json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ},
    )
    try:
        log = output / "episodes.jsonl"
        wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") == 2, first)
        before = tree(output)
        with pytest.raises(ConfigError, match=f"process {first.pid} on .* has been evaluating there since"):
            evaluate(**given, videos=False)
        assert tree(output) == before
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    flag.unlink()
    summary = evaluate(**given, videos=False)
    assert summary["episodes"] == len(PROTOCOL.work())
