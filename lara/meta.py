"""Building a system without its numbers: on torch's meta device shapes exist, storage does not.

Whatever would read or download pretrained weights asks `weights_wanted()` first, so that a system of any size can be
described on a machine that could never hold it.
"""

from __future__ import annotations

import torch


def weights_wanted() -> bool:
    """False while a system is built under `torch.device("meta")`."""
    return torch.get_default_device().type != "meta"
