"""Measuring several ways of doing one thing side by side, on a machine that others use too."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Of one way: samples per CPU-second; the median round, and the lowest and highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rates: list[float]) -> Rate:
        """From the rate of each round."""
        return cls(median=float(np.median(rates)), low=min(rates), high=max(rates))


def interleaved(ways: Mapping[str, Callable[[int], int]], *, rounds: int) -> dict[str, list[float]]:
    """Samples per second of the processor's time, of each way in each round.

    Args:
        ways: name -> a function that does round k and returns how many samples that were. They take turns within a
            round, so that a busy minute of the machine falls upon all; the processor's time leaves others out.
        rounds: how often. One more comes first and is not counted.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            begin = time.process_time()
            samples = way(number)
            spent = time.process_time() - begin
            if number:
                rates[name].append(samples / max(spent, 1e-9))
    return rates


def machine() -> dict[str, Any]:
    """Where it was measured, without names that only this machine has."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load at the end (1 min)": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
