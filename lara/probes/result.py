"""What every probe returns: a frozen dataclass of numbers, with a JSON form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


class Result:
    """Base of the probes' dataclasses."""

    def json(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts. Pictures (bytes) are left out, NaN and infinities become None."""
        return {
            f.name: _plain(value)
            for f in fields(self)  # type: ignore[arg-type]
            if not isinstance(value := getattr(self, f.name), bytes)
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.json()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
