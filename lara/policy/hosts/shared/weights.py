"""Public weights into a module: every tensor that is expected, or an error that says which are not there.

Packages of the field print a warning and go on with random numbers when a checkpoint does not fit (lerobot's pi0.5
does); then a base model scores like a random one and nobody knows why. Here anything under 100 % is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lara.errors import CheckpointError
from lara.policy.hosts.shared.safetensors_files import json_object, read_file

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_SHOWN = 3


def fill(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str | None] = lambda name: name,
    allow_missing: Sequence[str] = (),
    ignore: Sequence[str] = (),
    source: str,
) -> dict[str, int]:
    """Copies `tensors` into the module's parameters and buffers, in place, cast to each target's dtype.

    rename:        the checkpoint's name -> the module's; None drops the tensor.
    allow_missing: regexes of the module's names that may keep what they have (fullmatch).
    ignore:        regexes of the checkpoint's names that are not wanted (fullmatch).
    source:        where the tensors are from, for the message.
    Tied names count as one tensor: it is enough that one of them comes. Returns {"loaded", "missing", "ignored"}.
    Raises CheckpointError, before anything is changed, for missing, unexpected and mis-shaped tensors, grouped by the
    module they belong to, and for two names that are renamed to one.
    """
    own = module.state_dict()
    planned: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    ignored = 0
    for name, value in tensors.items():
        target = None if _matches(name, ignore) else rename(name)
        if target is None:
            ignored += 1
            continue
        if target in planned:
            raise CheckpointError(
                f"{source}: '{origin[target]}' and '{name}' are both renamed to '{target}'; one of them must be ignored"
            )
        planned[target], origin[target] = value, name
    present = {_place(own[name]) for name in planned if name in own}
    absent = [name for name in own if name not in planned and _place(own[name]) not in present]
    missing = [name for name in absent if not _matches(name, allow_missing)]
    unexpected = [name for name in planned if name not in own]
    wrong = [name for name in planned if name in own and planned[name].shape != own[name].shape]
    if missing or unexpected or wrong:
        filled = len(own) - len(absent) - len(wrong)
        lines = [f"{source} fills {filled} of {len(own)} tensors of {type(module).__name__}:"]
        lines += _groups("missing", missing)
        lines += _groups("unexpected", unexpected)
        shapes = {n: f"{n} {tuple(planned[n].shape)} instead of {tuple(own[n].shape)}" for n in wrong}
        lines += _groups("of another shape", wrong, shapes)
        lines.append(
            "Build the module with the sizes of that checkpoint's config.json; a checkpoint of another version of the "
            "model does not fit. Nothing was changed."
        )
        raise CheckpointError("\n".join(lines))
    with torch.no_grad():
        for name, value in planned.items():
            own[name].copy_(value)
    return {"loaded": len(planned), "missing": len(absent), "ignored": ignored}


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors, on the CPU (memory-mapped), of a .safetensors file, an index of shards, or a folder with either.

    Raises CheckpointError for what is not there, damaged, or pickled; and for an index whose shards do not hold
    exactly what it lists, or that points out of its folder.
    """
    path = Path(path)
    if path.is_dir():
        if (path / INDEX).exists():
            path = path / INDEX
        elif (path / SINGLE).exists():
            path = path / SINGLE
        else:
            files = sorted(path.glob("*.safetensors"))
            if len(files) != 1:
                raise CheckpointError(
                    f"{path}: expected {SINGLE} or {INDEX}, got {[f.name for f in files] or 'no safetensors at all'}; "
                    "weights in .bin, .pt or .ckpt files are pickles and are not read"
                )
            path = files[0]
    if path.suffix == ".json":
        return _shards(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: expected a .safetensors file, an index of shards or a folder; pickles are not read"
        )
    return read_file(path)


def _shards(index: Path) -> dict[str, Tensor]:
    weight_map = json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: expected a 'weight_map' of tensor names to shards")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(map(str, weight_map.values()))):
        if Path(name).name != name:
            raise CheckpointError(f"{index} names the shard '{name}' outside its own folder")
        tensors |= read_file(index.parent / name)
    if set(tensors) != set(weight_map):
        missing, more = sorted(set(weight_map) - set(tensors)), sorted(set(tensors) - set(weight_map))
        raise CheckpointError(
            f"{index}: its shards lack {len(missing)} listed tensors {missing[:_SHOWN]} and hold {len(more)} unlisted "
            f"ones {more[:_SHOWN]}; download the folder again"
        )
    return tensors


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _place(tensor: Tensor) -> object:
    """What makes two names one tensor (tied weights)."""
    if tensor.device.type == "meta" or not tensor.numel():
        return id(tensor)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())


def _groups(what: str, names: Sequence[str], shown: Mapping[str, str] | None = None) -> list[str]:
    """One line per common prefix (three levels of the module tree): how many names, and the first few."""
    prefixes = Counter(_prefix(name) for name in names)
    lines = []
    for prefix, count in prefixes.most_common():
        some = [name for name in names if _prefix(name) == prefix][:_SHOWN]
        text = ", ".join(shown[name] if shown else name for name in some)
        lines.append(f"  {count} {what} under '{prefix}': {text}{', ...' if count > _SHOWN else ''}")
    return lines


def _prefix(name: str) -> str:
    pieces = name.split(".")
    return ".".join(pieces[: min(3, len(pieces) - 1)]) or name
