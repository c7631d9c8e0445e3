"""Whole or absent, and nothing left behind: for failures, for kills, for refusals of the file system."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch

import lara.store.files as files
from lara.errors import CheckpointError, LaraError, StoreError
from lara.store.checkpoint import load_latest, write_checkpoint
from lara.store.files import TEMPORARY, replace_file, whole_file, whole_folder
from lara.store.lines import append_line, read_lines
from lara.store.records import read_json, write_json
from lara.store.tensors import load_tensors
from tests.store.test_checkpoint import write

WRITER = """
import os, signal, sys
from pathlib import Path
from lara.store.files import whole_file, whole_folder, write_new
target = Path(sys.argv[1])
block = whole_folder(target) if sys.argv[2] == "folder" else whole_file(target)
with block as temporary:
    write_new(temporary / "x" if sys.argv[2] == "folder" else temporary, b"half")
    os.kill(os.getpid(), signal.SIGKILL if sys.argv[3] == "killed" else signal.SIGSTOP)
"""


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.startswith(TEMPORARY))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_leaves_goes_with_the_next_write_in_that_folder(tmp_path, kind):
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path / "x"), kind, "killed"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(leftovers(tmp_path)) == 1
    assert not (tmp_path / "x").exists()
    replace_file(tmp_path / "another", b"1")
    assert leftovers(tmp_path) == []


def test_what_a_living_writer_has_under_way_is_left_alone(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "x"), "folder", "stopped"])
    try:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        replace_file(tmp_path / "another", b"1")
        assert len(leftovers(tmp_path)) == 1
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
        assert (tmp_path / "x" / "x").read_bytes() == b"half"
    finally:
        process.kill()
    with whole_folder(tmp_path / "outer") as outer:  # and so is one's own
        replace_file(tmp_path / "another", b"2")
        assert outer.is_dir()


def test_another_machines_temporaries_are_left_alone_for_a_week(tmp_path):
    old, new = (tmp_path / f".tmp-x-{'0' * 8}-{pid}-{'a' * 12}" for pid in (1, 2))
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, 0))
    replace_file(tmp_path / "another", b"1")
    assert leftovers(tmp_path) == [new.name]
    files.remove_leftovers(tmp_path, locked=True)
    assert leftovers(tmp_path) == []


FAULTS = {
    "ENOSPC": OSError(errno.ENOSPC, "No space left on device"),
    "EIO": OSError(errno.EIO, "Input/output error"),
    "Ctrl-C": KeyboardInterrupt(),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", ["write", "fsync", "rename"])
def test_a_failed_save_leaves_no_temporary_and_the_previous_checkpoint_sound(tmp_path, monkeypatch, fault, at):
    write(tmp_path, 1)

    def fail(*_, **__):
        raise FAULTS[fault]

    for attempt in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(os, at, fail)
            with pytest.raises(KeyboardInterrupt if fault == "Ctrl-C" else StoreError) as failed:
                write(tmp_path, 2 + attempt)
        if fault != "Ctrl-C":
            assert fault in str(failed.value)
            assert str(tmp_path / "checkpoints") in str(failed.value)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["latest", "step-00000001"]
    assert load_latest(tmp_path).weights(ema=True)["x"].tolist() == [1.0] * 3


def test_a_full_disk_is_met_by_the_real_writers(tmp_path):
    """A size limit of the process stands for the disk: tensors are written by a library that reports in text only."""
    write(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    records = {n: {} for n in ("parts", "optimizer", "train", "config", "data", "versions")}
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        tensors = {"system": {"x": torch.zeros(100_000)}, "optimizer": {}, "rng": {}}
        with pytest.raises(StoreError, match=r"system\.safetensors.*EFBIG"):
            write_checkpoint(tmp_path, step=2, tensors=tensors, records=records, keep_last=2)
        with pytest.raises(StoreError, match=r"big\.json.*EFBIG"):
            write_json(tmp_path / "big.json", ["x" * 20_000])
        append_line(tmp_path / "lines", {"k": 1})
        with pytest.raises(StoreError, match=r"lines.*EFBIG"):
            append_line(tmp_path / "lines", {"k": "x" * 20_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert read_lines(tmp_path / "lines", LaraError).records == [{"k": 1}]
    assert not list(tmp_path.rglob(".tmp-*"))
    assert load_latest(tmp_path).step == 1


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "ESTALE", "EACCES", "EISDIR", "EIO", "EDQUOT", "ENOTDIR"])
def test_a_refusal_names_path_reason_and_remedy_in_writing_and_reading(tmp_path, monkeypatch, code):
    number = getattr(errno, code)
    (tmp_path / "there.json").write_text("{}")
    (tmp_path / "there.safetensors").write_bytes(b"")

    def refuse(path, *_, **__):
        raise OSError(number, os.strerror(number), os.fspath(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        patch.setattr("io.open", refuse)
        patch.setattr("builtins.open", refuse)
        for work in (
            lambda: write_json(tmp_path / "new.json", {}),
            lambda: append_line(tmp_path / "new.jsonl", {}),
            lambda: read_json(tmp_path / "there.json", CheckpointError),
            lambda: files.sha256_of(tmp_path / "there.json"),
            lambda: read_lines(tmp_path / "there.json", CheckpointError),
        ):
            with pytest.raises(StoreError) as refused:
                work()
            assert str(tmp_path) in str(refused.value)
            assert f"[{code}]" in str(refused.value)
            assert files.REMEDIES[number] in str(refused.value)


def test_a_folder_where_a_file_belongs_and_the_other_way_round(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="EISDIR"):
        replace_file(tmp_path / "folder", b"1")
    with pytest.raises(CheckpointError, match="not a plain file"):
        read_json(tmp_path / "folder", CheckpointError)
    (tmp_path / "file").write_text("1")
    with pytest.raises(StoreError, match=r"ENOTDIR|EEXIST"), whole_folder(tmp_path / "file" / "x"):
        pass
    with pytest.raises(StoreError, match="exists already"), whole_folder(tmp_path / "file"):
        pass
    with pytest.raises(CheckpointError, match="safetensors"):
        load_tensors(tmp_path / "nothing.safetensors")
    assert leftovers(tmp_path) == []


def test_an_error_of_the_block_that_the_file_system_did_not_raise_stays_itself(tmp_path):
    class Decoder(OSError):
        pass

    for error in (Decoder(1094995529, "invalid data"), ValueError("no")):
        with pytest.raises(type(error)), whole_file(tmp_path / "x"):
            raise error
    assert list(tmp_path.iterdir()) == []
