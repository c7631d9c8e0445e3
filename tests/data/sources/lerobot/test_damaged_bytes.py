"""Parquet files with bytes changed: refused by name or read as they were; never a crash, a hang or other numbers.

A flipped bit inside a page of numbers is found by the page's checksum, which our own writer leaves there; files of
others without checksums can lose only what parquet itself cannot see: their counters, widths and values are looked at.
"""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lara.data.frames.encode import ImageStorage
from lara.data.sources.lerobot.read import open_dataset
from lara.data.sources.numbers import Numbers
from lara.data.sources.validate import validate
from lara.errors import LaraError
from tests.data import worlds

FILES = ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet")
LIMIT = 20.0  # seconds for one dataset


def mutated(whole: bytes, seed: int) -> bytes:
    """Flipped bits, a changed run, a cut, doubled or missing bytes, or a footer length from another file."""
    rng = np.random.default_rng(seed)
    data, kind, size = bytearray(whole), seed % 6, len(whole)
    at = int(rng.integers(4, size - 8))
    if kind == 0:
        for place in rng.integers(4, size - 8, 3):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[at : at + 16] = rng.bytes(len(data[at : at + 16]))
    elif kind == 2:
        del data[at : at + int(rng.integers(1, 64))]
    elif kind == 3:
        data[at:at] = data[at : at + 32]
    elif kind == 4:
        data = data[:at]
    else:
        data[-8 - int(rng.integers(0, 200))] ^= 0xFF  # in the footer, or its length
    return bytes(data)


def outcome(root: Path) -> tuple[str, bytes, bytes, str]:
    """What a training run would get: the numbers and instructions, or the error."""
    try:
        source = open_dataset(root)
        validate(source, decode=False)
        numbers = Numbers.of(source)
        texts = "|".join(source.tasks[k] for k in numbers.task)
        pictures = b"".join(source.frames(k, "top", [0]).tobytes() for k in range(len(source)))
        return "read", numbers.states.tobytes() + numbers.actions.tobytes(), pictures, texts
    except LaraError as error:
        return "refused", b"", b"", str(error)


def _in_child(root: Path, found) -> None:
    found.put(outcome(root))


def _guarded(root: Path) -> tuple[str, bytes, bytes, str]:
    """`outcome` in a process of its own, which may crash or hang."""
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(root, found))
    child.start()
    reader = found._reader  # a queue without its lock: one writer, one reader
    answer = found.get() if reader.poll(LIMIT) else ("hung", b"", b"", "")
    if answer[0] == "hung":
        child.kill()
    child.join(LIMIT)
    return answer if child.exitcode == 0 else ("crashed", b"", b"", f"exit code {child.exitcode}")


def _try(good: Path, folder: Path, seeds, *, checksums: bool = True) -> dict[str, int]:
    whole = outcome(good)
    assert whole[0] == "read"
    counts: dict[str, int] = {}
    for seed in seeds:
        name = FILES[0] if seed % 2 else FILES[(seed // 2) % 3]
        root = folder / f"{seed}"
        shutil.copytree(good, root)
        (root / name).write_bytes(mutated((root / name).read_bytes(), seed))
        found = _guarded(root)
        assert found[0] in ("read", "refused"), f"seed {seed}, {name}: {found[0]} {found[3]}"
        if found[0] == "read" and checksums:
            assert found == whole, f"seed {seed}, {name}: other numbers, pictures or words, and nobody said so"
        counts[found[0]] = counts.get(found[0], 0) + 1
        shutil.rmtree(root)
    return counts


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("good") / "set"
    worlds.write(root, (5, 9, 7), cameras=("top",), storage=ImageStorage())
    (root / "meta/lara.json").unlink()
    return root


def test_changed_bytes_are_refused_or_without_effect(good, tmp_path):
    assert _try(good, tmp_path, range(12))["refused"] >= 6


@pytest.mark.long
def test_without_checksums_nothing_crashes_hangs_or_is_not_finite(good, tmp_path):
    root = Path(shutil.copytree(good, tmp_path / "plain"))
    for name in FILES:
        pq.write_table(pq.read_table(root / name), root / name)
    assert _try(root, tmp_path, range(400, 550), checksums=False)["refused"] >= 60


@pytest.mark.long
def test_more_changed_bytes_are_refused_or_without_effect(good, tmp_path):
    assert _try(good, tmp_path, range(12, 312))["refused"] >= 150
