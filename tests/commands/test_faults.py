"""What the machine does to a command, each with its exit code and remedy: disks, rights, memory, signals, pipes."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from lara.cli import EXIT_CODES, main
from lara.errors import ConfigError, DataError, MachineError
from lara.faults import explained, refused


def _os(number, path="/data/x"):
    return OSError(number, os.strerror(number), path)


def _chained():
    try:
        raise _os(errno.ENOSPC)
    except OSError as error:
        caught = RuntimeError("saving failed")
        caught.__cause__ = error
        return caught


REFUSED = [
    (_os(errno.ENOSPC), "/data/x: No space left on device; free some space"),
    (_os(errno.EDQUOT), "your quota is used up"),
    (_os(errno.EROFS), "/data/x: Read-only file system; this file system is mounted read-only"),
    (_os(errno.EACCES), "/data/x: Permission denied; you may not use this path"),
    (_os(errno.EISDIR), "/data/x: Is a directory; a file is needed here"),
    (_os(errno.ESTALE), "the network file system lost this file"),
    (_os(errno.EMFILE), "ulimit -n"),
    (_os(errno.EAGAIN), "ulimit -u"),
    (MemoryError(), "the machine has no memory left"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "a loader or worker process died"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "no memory left"),
    (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
    (BrokenProcessPool("A process in the pool was terminated abruptly"), "a loader or worker process died"),
    (_chained(), "No space left on device; free some space"),
]


@pytest.mark.parametrize(("error", "words"), REFUSED, ids=[repr(error) for error, _ in REFUSED])
def test_what_the_machine_refuses_is_a_message_with_its_remedy(error, words, capsys, monkeypatch):
    monkeypatch.setattr("lara.commands.compare.main", _raising(error))
    assert main(["compare", "a", "b"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("lara compare: MachineError: ")
    assert words in said
    assert "Traceback" not in said
    assert main(["compare", "a", "b", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (ConfigError("x"), 2), (ValueError("y"), 1)])
def test_every_ending_has_its_code_and_one_line(stop, code, capsys, monkeypatch):
    monkeypatch.setattr("lara.commands.compare.main", _raising(stop))
    assert main(["compare"]) == code
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert ("internal error: ValueError: y; run it again with --debug" in said) == (code == 1)
    assert code in EXIT_CODES


@pytest.mark.parametrize("place", ["hydra.compose", "lara.data.check.look.opened"])
def test_ctrl_c_while_composing_or_reading_data(place, capsys, monkeypatch):
    monkeypatch.setattr(place, _raising(KeyboardInterrupt()))
    assert main(["check", "experiment=demo/lara", "data.root=x"]) == 130
    assert capsys.readouterr().err.splitlines() == ["lara check: interrupted; the same command goes on where it was"]


def test_an_error_of_ours_stays_and_a_missing_right_is_no_damage():
    ours = DataError("frame 3 is missing")
    assert explained(ours) is ours
    assert explained(ValueError("a bug")) is None
    assert isinstance(refused(_os(errno.EACCES)), MachineError)
    assert refused(_os(errno.EIO)) is None


def test_a_file_where_a_folder_should_be(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["collect", "benchmark=toy", "tasks=[reach-red]", f"output={tmp_path}/file/data"]) == 2
    said = capsys.readouterr().err
    assert "a part of this path is a file where a folder is needed" in said
    assert "Traceback" not in said


def _killed_at_once(step):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_loader_worker_that_the_kernel_kills():
    from lara.data.loader import batches

    with pytest.raises(RuntimeError) as caught:
        next(batches(_killed_at_once, start_step=0, workers=1))
    assert "use fewer workers" in str(explained(caught.value))


def _limited(limit, line):
    code = (
        "import resource, sys, lara.data.collect; from lara.cli import main; "
        f"resource.setrlimit(resource.{limit[0]}, ({limit[1]}, {limit[1]})); sys.exit(main({line!r}))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("limit", "words"), [(("RLIMIT_FSIZE", 0), "ulimit -f"), (("RLIMIT_NOFILE", 10), "ulimit -n")])
def test_a_real_limit_of_the_operating_system(limit, words, tmp_path):
    line = ["collect", "benchmark=toy", "tasks=[reach-red]", "episodes=1", f"output={tmp_path}/data", "processes=1"]
    done = _limited(limit, line)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_ends_the_command_quietly():
    process = subprocess.Popen(
        [sys.executable, "-m", "lara.cli", "train", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_an_evaluation_is_one_line_and_leaves_no_process(number, code, tmp_path):
    (tmp_path / "hang").touch()
    client = ["client._target_=sim_eval.faults.FaultyPolicy", "+client.faults={0: hang}"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "lara.cli", "eval", "benchmark=toy", "protocol=toy", "client=expert"),
            *(*client, f"+client.while_exists={tmp_path}/hang", f"output={tmp_path}/run", "processes=1"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "run" / "protocol.json").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    os.killpg(process.pid, number)  # a terminal sends Ctrl-C to every process of the group
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("lara eval: ")
    assert _gone(process.pid), "processes of the evaluation are left"


def _gone(group, seconds=20):
    """Whether the process group ends; multiprocessing's own helpers leave a moment after their parent."""
    for _ in range(20 * seconds):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def _raising(error):
    def raise_it(*_, **__):
        raise error

    return raise_it
