"""Our side of a comparison with a vendor: run its script in its own environment and read what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

ROOT = Path(__file__).parent.parent.parent
PYTHON = Path(os.environ.get("LARA_HOSTS_PYTHON", ROOT / ".venv-hosts" / "bin" / "python"))
ABSENT = f"{PYTHON} does not exist; `make test-hosts` makes the vendors' environment"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exchange:
    """What a vendor's script wrote: tensors under "weight/", "input/" and "output/", and JSON in the metadata."""

    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    meta: dict


def run_vendor(script: str, host: str, folder: Path) -> Exchange:
    """Runs tests/hosts/<script> HOST FILE with the vendors' python and reads FILE."""
    file = folder / f"{host}.safetensors"
    command = [str(PYTHON), str(Path(__file__).parent / script), host, str(file)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    with safe_open(file, "pt") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        meta = json.loads(opened.metadata()["meta"])
    sides = {
        side: {key.removeprefix(f"{side}/"): value for key, value in tensors.items() if key.startswith(f"{side}/")}
        for side in ("weight", "input", "output")
    }
    return Exchange(sides["weight"], sides["input"], sides["output"], meta)


def error(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference. Shapes must be equal, and the reference must not be all one number."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert ours.numel() == 1 or theirs.std() > 0
    return (ours.double() - theirs.double()).abs().max().item()


def machine() -> str:
    """The machine in words, without its name."""
    return f"{os.cpu_count()} CPU cores, no GPU used, torch {torch.__version__}, float32"
