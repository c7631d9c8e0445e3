"""What a run ran on. Bit-equality of a resumed run is promised for equal versions and an equal number of threads."""

from __future__ import annotations

import platform
import sys
from typing import Any

import numpy
import torch

import lara


def versions(device: torch.device, world: int) -> dict[str, Any]:
    """JSON-able: interpreter, packages, platform, device, threads, ranks."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "lara": lara.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "world": world,
    }
