"""Two processes (gloo) are one process with the whole batch; they agree on what not to do, and resume together."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.train.ddp_worker import POISON
from tests.train.toy import Toy, ToyData, run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder in which two ranks did what ddp_worker describes."""
    root = tmp_path_factory.mktemp("ddp")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ranks = []
    for rank in ("0", "1"):
        world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        ranks.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.train.ddp_worker", str(root), rank],
                cwd=Path(__file__).parents[2],
                env={**os.environ, **world, **where},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        outputs = [process.communicate(timeout=280)[0] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], "\n".join(output[-3000:] for output in outputs)
    return root


def both(root, name):
    return [load_file(root / f"{name}-rank{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize(("name", "steps"), [("plain", 7), ("poison", 4)])
def test_two_ranks_equal_one_with_the_whole_batch(root, tmp_path, name, steps):
    # tolerance: float32 means taken in another order, through a few AdamW steps of 1e-2
    single = Toy(noise=0.0, poison=(POISON,) if name == "poison" else ())
    run(tmp_path, system=single, learn=("policy",), steps=steps)
    zero, one = both(root, name)
    for key, value in single.state_dict().items():
        assert torch.equal(zero[key], one[key]), key
        torch.testing.assert_close(zero[key], value, rtol=0, atol=2e-6)
    assert not torch.equal(single.expert.head.weight, Toy().expert.head.weight)


def test_the_bad_sample_is_only_on_one_rank_and_both_say_so(root):
    reports = sorted((root / "poison" / "nonfinite").iterdir())
    assert [r.name for r in reports] == ["step-00000002-rank0.json", "step-00000002-rank1.json"]
    index = [json.loads(r.read_text())["index_B"][0] for r in reports]
    batch = next(ToyData().loader(start_step=2, batch_size=4, rank=0, world=1, workers=0))
    assert index[0] + index[1] == batch.index_B.tolist()
    assert POISON in index[1]


def test_a_resumed_pair_equals_an_uninterrupted_one(root):
    a, b = (root / name / "checkpoints" / "step-00000004" for name in ("straight", "resumed"))
    assert [p.name for p in a.iterdir() if p.read_bytes() != (b / p.name).read_bytes()] == []
    assert (root / "straight" / "metrics.jsonl").read_bytes() == (root / "resumed" / "metrics.jsonl").read_bytes()
    rows = load_file(a / "rng.safetensors")["torch"]
    assert len(rows) == 2
    assert not torch.equal(rows[0], rows[1])


def test_one_rank_can_go_on_from_two_with_the_same_order(root, tmp_path, caplog):
    shutil.copytree(root / "straight", tmp_path / "run")
    data = ToyData()
    run(tmp_path / "run", data=data, steps=6, schedule_steps=6, accumulate=2)
    assert data.seen[:4] == [8, 9, 10, 11]
    assert "resumed with 1 ranks instead of 2" in caplog.text


def test_a_failed_save_on_rank_0_stops_everybody(root):
    assert (root / "full-rank0.txt").read_text().startswith("OSError: [Errno 28]")
    assert (root / "full-rank1.txt").read_text().startswith("CheckpointError: rank 0 could not write the checkpoint")
