"""A plain strict loader in the place of lara.policy.hosts.weights and .hub, where those modules are not there."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file

from lara.errors import CheckpointError


def fill(module, tensors, *, rename, allow_missing=(), ignore=(), source):
    own, named = module.state_dict(), {}
    for key, value in tensors.items():
        target = None if any(re.fullmatch(i, key) for i in ignore) else rename(key)
        if target is not None:
            named[target] = value
    wrong = [k for k in named.keys() & own.keys() if named[k].shape != own[k].shape]
    if own.keys() ^ named.keys() or wrong:
        raise CheckpointError(f"{source}: {sorted(own.keys() ^ named.keys())[:5]} {wrong[:5]}")
    with torch.no_grad():
        for key, value in named.items():
            own[key].copy_(value)
    return {"loaded": len(named)}


def ensure_loader() -> None:
    if importlib.util.find_spec("lara.policy.hosts.weights") is not None:
        return
    weights, hub = ModuleType("lara.policy.hosts.weights"), ModuleType("lara.policy.hosts.hub")
    weights.fill = fill
    weights.read_safetensors = lambda path: load_file(path)
    hub.local_folder = lambda path, *, revision: Path(path)
    sys.modules[weights.__name__], sys.modules[hub.__name__] = weights, hub
