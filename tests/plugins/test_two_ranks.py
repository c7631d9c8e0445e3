"""Under DDP every gradient of an attached policy, those of LAM and projector included, is the mean over the ranks."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.plugins.two_ranks import gradients, model


def test_every_gradient_is_the_mean_over_two_ranks(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.plugins.two_ranks"]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), str(tmp_path / f"{rank}.safetensors")],
            cwd=Path(__file__).parents[2],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said[-2000:]
    ours = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    alone = [gradients(model(), rank) for rank in range(2)]
    assert ours[0].keys() == ours[1].keys() == alone[0].keys()
    assert {name.split(".")[0] for name in alone[0]} == {"policy", "lam", "align"}
    for name, gradient in ours[0].items():
        assert torch.equal(gradient, ours[1][name]), name
        torch.testing.assert_close(gradient, (alone[0][name] + alone[1][name]) / 2, msg=name)
    # the ranks had different samples: their own gradients differ
    assert not torch.allclose(alone[0]["align.projector.0.weight"], alone[1]["align.projector.0.weight"])
