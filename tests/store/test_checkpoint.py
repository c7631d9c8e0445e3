"""Whole or absent, whatever happens while it is written; complete or refused, whatever happened since."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil

import pytest
import torch

import lara.store.checkpoint as checkpoint
import lara.store.records as records
import lara.store.tensors as tensor_files
from lara.errors import CheckpointError, StoreError
from lara.store.checkpoint import load_latest, read_checkpoint, write_checkpoint
from lara.store.tensors import load_tensors, save_tensors
from tests.train.toy import Toy, run


def write(output, step, keep_last=2):
    tensors = {name: {"x": torch.full((3,), float(step))} for name in ("system", "optimizer", "rng", "ema")}
    records = {n: {"step": step} for n in ("parts", "optimizer", "train", "config", "data", "versions")}
    return write_checkpoint(output, step=step, tensors=tensors, records=records, keep_last=keep_last)


class Killed(BaseException):
    """Stands for a SIGKILL: no handler of ours may catch it."""


class Failpoints:
    """Counts the operations that touch the disk, and fails at one of them."""

    def __init__(self, monkeypatch, fail_at=None, how=None, when="before"):
        self.count, self.fail_at, self.how, self.when = 0, fail_at, how, when
        for module, name in (
            (os, "write"),
            (os, "fsync"),
            (os, "rename"),
            (os, "replace"),
            (os, "open"),
            (os, "mkdir"),
            (shutil, "rmtree"),
            (tensor_files, "save_file"),
        ):
            monkeypatch.setattr(module, name, self.wrap(name, getattr(module, name)))

    def wrap(self, name, real):
        def operation(*arguments, **options):
            self.count += 1
            if self.count != self.fail_at:
                return real(*arguments, **options)
            if self.when == "torn" and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if self.when == "after":
                real(*arguments, **options)
            raise self.how

        return operation


def operations(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        for step in (1, 2):
            write(tmp_path, step, keep_last=1)
        points = Failpoints(patch)
        write(tmp_path, 3, keep_last=1)
    return points.count


@pytest.mark.parametrize(
    ("how", "when"),
    [
        (Killed(), "before"),
        (Killed(), "after"),
        (Killed(), "torn"),
        (OSError(errno.EIO, "input/output error"), "before"),
        (OSError(errno.ENOSPC, "no space left"), "torn"),
    ],
    ids=["kill-before", "kill-after", "kill-torn", "EIO", "ENOSPC"],
)
def test_a_failure_at_any_boundary_leaves_the_newest_acknowledged_one(tmp_path, monkeypatch, how, when):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of them; their order is another test's subject
    points = operations(tmp_path / "count")
    assert points > 30
    for k in range(1, points + 1):
        output = tmp_path / str(k)
        acknowledged = 0
        for step in (1, 2, 3):
            with pytest.MonkeyPatch.context() as patch:
                if step == 3:
                    Failpoints(patch, k, how, when)
                try:
                    write(output, step, keep_last=1)
                    acknowledged = step
                except (Killed, StoreError):
                    assert step == 3
        found = load_latest(output)
        assert found.step >= acknowledged >= 2
        assert found.weights(ema=True)["x"].tolist() == [found.step] * 3
        pointed = read_checkpoint(output)  # `latest` never points at a missing or unfinished one
        assert pointed.step >= 2
        write(output, 4, keep_last=1)
        assert load_latest(output).step == read_checkpoint(output).step == 4
        left = sorted(p.name for p in (output / "checkpoints").iterdir())
        assert left == ["latest", "step-00000004"]
        shutil.rmtree(output)


def test_everything_is_on_the_disk_before_the_name_appears(tmp_path, monkeypatch):
    """What a power cut needs: files, their folder, the rename, the parent folder; then the same again for `latest`."""
    events, opened = [], {}
    real_open, real_rename, real_replace = os.open, os.rename, os.replace

    def remember(path, *rest):
        descriptor = real_open(path, *rest)
        opened[descriptor] = os.fspath(path)
        return descriptor

    def short(path):
        return re.sub(r"\.tmp-(step-\d+|latest)-[\w-]+", r"tmp-\1", os.path.relpath(path, tmp_path))

    def noted(name, real):
        def operation(a, b):
            events.append(f"{name} {short(a)} {short(b)}")
            real(a, b)

        return operation

    monkeypatch.setattr(os, "open", remember)
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(f"sync {short(opened[descriptor])}"))
    monkeypatch.setattr(os, "rename", noted("rename", real_rename))
    monkeypatch.setattr(os, "replace", noted("replace", real_replace))
    path = write(tmp_path, 1)
    names = [p.name for p in path.iterdir()]
    renamed = events.index("rename checkpoints/tmp-step-00000001 checkpoints/step-00000001")
    before, after = events[:renamed], events[renamed + 1 :]
    assert {f"sync checkpoints/tmp-step-00000001/{name}" for name in names} <= set(before[:-1])
    assert before[-1] == "sync checkpoints/tmp-step-00000001"
    assert before[0] == "sync ."  # the new folder `checkpoints` itself
    assert after == [
        "sync checkpoints",
        "sync checkpoints/tmp-latest",
        "replace checkpoints/tmp-latest checkpoints/latest",
        "sync checkpoints",
    ]


def test_the_newest_are_kept_and_never_fewer(tmp_path):
    for step in (1, 2, 3, 10, 20):
        write(tmp_path, step, keep_last=3)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["latest", "step-00000003", "step-00000010", "step-00000020"]
    assert read_checkpoint(tmp_path).step == 20


def test_a_failed_removal_is_said_and_harmless(tmp_path, monkeypatch, caplog):
    for step in (1, 2):
        write(tmp_path, step)

    def fails(*_, **__):
        raise OSError(errno.EACCES, "permission denied")

    monkeypatch.setattr(shutil, "rmtree", fails)
    write(tmp_path, 3)
    assert "could not remove" in caplog.text
    assert load_latest(tmp_path).step == 3


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    output = tmp_path_factory.mktemp("sound")
    run(output, steps=2)
    return read_checkpoint(output).path


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def copies(sound, tmp_path, count):
    for k in range(count):
        yield shutil.copytree(sound, tmp_path / f"copy{k}" / sound.name)


def test_every_truncation_and_bit_flip_is_refused(sound, tmp_path):
    rng = random.Random(0)
    folder = shutil.copytree(sound, tmp_path / sound.name)
    read_checkpoint(folder)
    tried = 0
    for name in files(sound):
        good = (sound / name).read_bytes()
        bad = [good[: rng.randrange(len(good))] for _ in range(8)] + [b"", good + b"\0"]
        for _ in range(64 if name == "manifest.json" else 24):
            at, bit = rng.randrange(len(good)), 1 << rng.randrange(8)
            bad.append(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
        for content in bad:
            (folder / name).write_bytes(content)
            with pytest.raises(CheckpointError):
                read_checkpoint(folder)
            tried += 1
        (folder / name).write_bytes(good)
    read_checkpoint(folder)
    assert tried > 300


def test_missing_foreign_swapped_and_linked_files_are_refused(sound, tmp_path):
    for name in files(sound):
        for k, folder in enumerate(copies(sound, tmp_path / name, 3)):
            if k == 0:
                (folder / name).unlink()
            elif k == 1:
                (folder / name).rename(folder.parent / name)
                (folder / name).symlink_to(folder.parent / name)
                if name == "manifest.json":
                    continue
            else:
                (folder / f"extra-{name}").write_bytes(b"?")
            with pytest.raises(CheckpointError):
                read_checkpoint(folder)
    other = shutil.copytree(sound, tmp_path / "swap" / sound.name)
    shutil.copy(sound / "ema.safetensors", other / "system.safetensors")
    with pytest.raises(CheckpointError, match=r"system\.safetensors"):
        read_checkpoint(other)


def test_a_record_that_is_no_object_is_refused(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "checkpoints" / "step-00000001" / "data.json").write_text("[1]")
    found = checkpoint.Checkpoint(tmp_path / "checkpoints" / "step-00000001")
    with pytest.raises(CheckpointError, match="expected a JSON object, got list"):
        _ = found.card


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "sub/x.json", "notes.txt", "pytorch_model.bin"])
def test_a_manifest_may_not_name_anything_else(sound, tmp_path, name):
    (folder,) = copies(sound, tmp_path, 1)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["train.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "content", ["[]", "null", '{"schema": 2, "files": {}}', '{"schema": 1}', '{"schema": 1, "files": []}']
)
def test_a_foreign_manifest_is_refused(sound, tmp_path, content):
    (folder,) = copies(sound, tmp_path, 1)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest|damaged"):
        read_checkpoint(folder)


def test_latest_may_not_lead_outside(tmp_path):
    write(tmp_path, 1)
    for name in ("../../elsewhere", "step-1/../../x", "", "/tmp"):
        (tmp_path / "checkpoints" / "latest").write_text(name)
        with pytest.raises(CheckpointError, match="expected the name of a checkpoint"):
            read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        read_checkpoint(tmp_path / "nowhere")


def test_what_is_read_is_what_was_trained(tmp_path):
    system = Toy()
    run(tmp_path, system=system, steps=4, config={"a": {"b": [1, 2.5, None]}})
    found = read_checkpoint(tmp_path)
    assert (found.name, found.step, found.has_ema) == ("step-00000004", 4, True)
    assert found.config == {"a": {"b": [1, 2.5, None]}}
    assert found.card == {"name": "toy"}
    assert found.versions["threads"] == torch.get_num_threads()
    raw, averaged = found.weights(ema=False), found.weights(ema=True)
    assert set(raw) == set(averaged) == set(system.state_dict())
    assert all(torch.equal(raw[k], v) for k, v in system.state_dict().items())
    assert not torch.equal(raw["expert.head.weight"], averaged["expert.head.weight"])
    assert torch.equal(raw["backbone.linear.weight"], averaged["backbone.linear.weight"])
    for folder in (tmp_path, found.path, str(found.path)):
        assert read_checkpoint(folder, verify=False).path == found.path


def test_tied_and_overlapping_tensors_survive(tmp_path):
    base = torch.arange(12.0)
    tensors = {
        "a": base,
        "b": base,
        "view": base[2:8].view(2, 3),
        "t": base.view(3, 4).T,
        "empty": torch.zeros(0),
        "n": torch.tensor(3),
    }
    save_tensors(tmp_path / "x.safetensors", tensors)
    loaded = load_tensors(tmp_path / "x.safetensors")
    assert set(loaded) == set(tensors)
    assert all(torch.equal(loaded[k], v) and loaded[k].dtype == v.dtype for k, v in tensors.items())
    assert loaded["a"] is loaded["b"]
    assert (tmp_path / "x.safetensors").stat().st_size < 4 * (12 + 6 + 12) + 800
    (tmp_path / "y.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match="safetensors"):
        load_tensors(tmp_path / "y.safetensors")


def test_json_of_the_checkpoint_is_exact(tmp_path):
    numbers = {"x": [0.1 + 0.2, 1e-310, 3.0], "n": 2**63}
    records.write_json(tmp_path / "x.json", numbers)
    assert records.read_json(tmp_path / "x.json", CheckpointError) == numbers
    with pytest.raises(ValueError, match="JSON"):
        records.to_json({"x": float("nan")})
