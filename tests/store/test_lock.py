"""One process at a time in an output folder; nobody has to clean up after a dead one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from lara.errors import ConfigError, StoreError
from lara.store.lock import LOCK, locked, only_one

HOLDER = """
import os, sys, time
from pathlib import Path
from lara.store.lock import only_one
with only_one(Path(sys.argv[1]), "training"):
    if sys.argv[2] == "with a child":  # as a loader's worker that outlives its parent
        runs, says = os.pipe()
        if os.fork() == 0:
            os.write(says, b".")
            time.sleep(60)
        os.read(runs, 1)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def holder(folder, how="alone"):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), how], stdout=subprocess.PIPE, text=True)
    assert int(process.stdout.readline()) == process.pid
    return process


def test_a_second_process_is_told_who_holds_it_and_changes_nothing(tmp_path):
    process = holder(tmp_path / "run")
    try:
        before = (tmp_path / "run" / LOCK).read_bytes()
        with pytest.raises(ConfigError) as refused, only_one(tmp_path / "run", "training"):
            raise AssertionError("two processes hold one lock")
        since = json.loads(before)["since"]
        said = f"process {process.pid} on {socket.gethostname()} has been training there since {since}"
        assert said in str(refused.value)
        assert "choose another output" in str(refused.value)
        assert [p.name for p in (tmp_path / "run").iterdir()] == [LOCK]
        assert (tmp_path / "run" / LOCK).read_bytes() == before
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("how", ["alone", "with a child"])
def test_a_killed_holder_lets_go_at_once_even_if_its_children_live_on(tmp_path, how):
    process = holder(tmp_path, how)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with only_one(tmp_path, "evaluation"):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    with only_one(tmp_path, "evaluation"):  # and again, by the same process
        pass


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(KeyboardInterrupt), only_one(tmp_path, "training"):
        raise KeyboardInterrupt
    with only_one(tmp_path, "training"):
        pass


def test_one_who_waits_gets_it_when_the_holder_is_done(tmp_path):
    process = holder(tmp_path)
    started = time.monotonic()
    os.kill(process.pid, signal.SIGSTOP)
    pid = os.fork()
    if pid == 0:
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGKILL)
        os._exit(0)
    with locked(tmp_path / LOCK, wait=True, doing="building"):
        assert time.monotonic() - started > 0.4
    os.waitpid(pid, 0)
    process.wait()


def test_a_file_system_without_locks_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="grants no locks"), only_one(tmp_path, "training"):
        pass
