"""Damaged videos: whatever is done to a file, reading gives exactly its frames or a DataError. No crash, no hang."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lara.data.frames.decode import PyAVReader
from lara.data.frames.encode import VideoStorage, encode_video
from lara.data.frames.mp4 import read_facts
from tests.data.sources.films import film, shown

pytest.importorskip("av")

N, FPS = 24, 10

READ = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from lara.data.frames.decode import PyAVReader
from lara.errors import DataError
for path in sorted(Path(sys.argv[1]).iterdir()):
    reader = PyAVReader()
    try:
        frames = reader.frames(path, np.arange(24) / 10, tolerance=0.02)
        said = hashlib.sha256(frames.tobytes()).hexdigest() if reader.count(path) == 24 else "count"
    except DataError as error:
        said = "error" if path.name in str(error) else f"error without its file: {error}"
    print(json.dumps([path.name, said]), flush=True)
"""


def mutations(whole: bytes, other: bytes, seed: int, count: int):
    """(kind, bytes): what disks, networks and tools do to files."""
    rng = np.random.default_rng(seed)
    pictures = whole.find(b"mdat")
    for k in range(count):
        data = bytearray(whole)
        kind = ("bits", "bytes", "head", "cut", "zeros", "swap", "repeat", "other")[k % 8]
        begin, length = int(rng.integers(len(data))), int(rng.integers(1, 200))
        if kind in ("bits", "bytes", "head"):
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(0, pictures if kind == "head" else len(data)))
                data[at] ^= 1 << int(rng.integers(8)) if kind == "bits" else int(rng.integers(1, 256))
        elif kind == "cut":
            del data[begin:]
        elif kind == "zeros":
            data[begin : begin + length] = bytes(len(data[begin : begin + length]))
        elif kind == "swap":
            there = int(rng.integers(len(data)))
            data[begin : begin + length], data[there : there + length] = (
                data[there : there + length],
                data[begin : begin + length],
            )
        elif kind == "repeat":
            data[begin:begin] = data[begin : begin + length]
        else:  # another film from here on, at most with its own pictures behind this one's tables
            begin = max(begin, pictures)
            data[begin:] = other[begin:]
        yield kind, bytes(data)


def outcomes(folder: Path, *, timeout: float) -> dict[str, str]:
    """What a process of its own reads from every file; a crash or a hang leaves files without an answer."""
    command = [sys.executable, "-c", READ, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    said = dict(json.loads(line) for line in run.stdout.splitlines())
    assert run.returncode == 0, (run.stderr[-2000:], len(said))
    return said


@pytest.mark.parametrize("codec", ["h264", "libsvtav1"])
@pytest.mark.parametrize("count", [16, pytest.param(200, marks=pytest.mark.long)])
def test_a_mutated_file_gives_its_frames_or_an_error(tmp_path, codec, count):
    images = np.stack([shown(k) for k in range(N)])
    for name, some in (("whole", images), ("other", images[::-1])):
        encode_video(tmp_path / f"{name}.mp4", some, fps=FPS, storage=VideoStorage(codec=codec))
    facts = read_facts(tmp_path / "whole.mp4")
    assert facts is not None
    assert facts.seal, "the file carries no checksums, so this test would prove nothing"
    frames = PyAVReader().frames(tmp_path / "whole.mp4", np.arange(N) / FPS, tolerance=0.02)
    exact = hashlib.sha256(frames.tobytes()).hexdigest()
    whole, other = ((tmp_path / f"{name}.mp4").read_bytes() for name in ("whole", "other"))
    (tmp_path / "mutated").mkdir()
    for k, (kind, data) in enumerate(mutations(whole, other, seed=len(codec), count=count)):
        (tmp_path / "mutated" / f"{k:03d}-{kind}.mp4").write_bytes(data)
    said = outcomes(tmp_path / "mutated", timeout=60 + count)
    assert len(said) == count
    wrong = {name: what for name, what in said.items() if what not in ("error", exact)}
    assert not wrong
    assert Counter(said.values())["error"] > count / 2


def test_damage_outside_the_pictures_of_a_foreign_file_substitutes_none(tmp_path):
    """Files of other programs have no checksums: what a flipped bit within a picture does only its codec may notice."""
    path = film(tmp_path / "whole.mp4", range(N), fps=FPS)
    exact = hashlib.sha256(PyAVReader().frames(path, np.arange(N) / FPS, tolerance=0.02).tobytes()).hexdigest()
    whole = path.read_bytes()
    tables = whole.find(b"stbl")
    (tmp_path / "mutated").mkdir()
    rng = np.random.default_rng(0)
    for k in range(40):
        data = bytearray(whole)
        data[int(rng.integers(tables, len(data)))] ^= 1 << int(rng.integers(8))
        (tmp_path / "mutated" / f"{k:03d}.mp4").write_bytes(data)
    said = outcomes(tmp_path / "mutated", timeout=100)
    assert len(said) == 40
    assert {name: what for name, what in said.items() if what not in ("error", exact)} == {}
