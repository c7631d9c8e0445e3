"""Building a system without its numbers: on torch's meta device shapes exist, storage does not.

Whatever would read or download pretrained weights asks `weights_wanted()` first, so that a system of any size can be
described on a machine that could never hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_filled_elsewhere: ContextVar[bool] = ContextVar("filled_elsewhere", default=False)


def weights_wanted() -> bool:
    """False while a system is built under `torch.device("meta")` or `filled_elsewhere`."""
    return torch.get_default_device().type != "meta" and not _filled_elsewhere.get()


@contextmanager
def filled_elsewhere() -> Iterator[None]:
    """Inside, systems are built without reading pretrained weights: a checkpoint holds them all and follows at once."""
    token = _filled_elsewhere.set(True)
    try:
        yield
    finally:
        _filled_elsewhere.reset(token)
