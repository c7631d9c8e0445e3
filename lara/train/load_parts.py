"""Starting a system's parts from another run's checkpoint: all of a part, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lara.errors import CheckpointError, ConfigError, nearest
from lara.store.export import Export, read_saved
from lara.systems.system import System
from lara.train.parts import as_module, covers, keys_below, part_paths, select


def load_parts(system: System, load: Mapping[str, str | Path], *, ema: bool = False) -> dict[str, int]:
    """Part prefix -> checkpoint (a step folder, a run folder or an exported folder): copies those parts' weights and
    buffers into `system`.

    ema: the moving averages, where the checkpoint has them. A part may sit elsewhere in the other system; it is found
    by its part name. A part with LoRA adapters may start from one without: the base weights are taken, the adapters
    stay fresh (they change nothing until they learn). Returns part -> number of tensors loaded; afterwards the system's
    `after_load()` is called. Raises ConfigError for an unknown prefix or a part named
    twice, CheckpointError (before anything was changed) when a part is absent, filled less than completely,
    over-filled, or of another shape.
    """
    module = as_module(system)
    own_paths = part_paths(system)
    own = module.state_dict()
    planned: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}
    for prefix, source in load.items():
        selected = select([prefix], own_paths, what="stage.load")
        twice = [part for part in selected if part in counts]
        if twice:
            raise ConfigError(f"stage.load names the part '{twice[0]}' twice (by '{prefix}' and another prefix)")
        checkpoint = read_saved(source)
        # an export has one set of weights, chosen when it was made
        weights = checkpoint.tensors() if isinstance(checkpoint, Export) else checkpoint.weights(ema)
        problems = []
        for part in selected:
            expected = keys_below(own_paths[part], own)
            if part not in checkpoint.part_paths:
                problems.append(f"{part}: 0 of {len(expected)} tensors ({_absent(part, checkpoint.part_paths)})")
                continue
            found = keys_below(checkpoint.part_paths[part], weights)
            expected = _around_adapters(expected, found)
            problem = _difference(part, expected, found, own, weights)
            if problem:
                problems.append(problem)
                continue
            planned |= {full: weights[found[key]] for key, full in expected.items()}
            counts[part] = len(expected)
        if problems:
            raise CheckpointError(
                f"{checkpoint.path} does not fill '{prefix}' completely:\n  " + "\n  ".join(problems) + "\n"
                "Build this system with the sizes of that run (its config.json), or leave the part out of stage.load."
            )
    with torch.no_grad():
        for name, value in planned.items():
            own[name].copy_(value)
    if counts:
        system.after_load()
    return counts


def _around_adapters(expected: Mapping[str, str], found: Mapping[str, str]) -> Mapping[str, str]:
    """`expected` (the checkpoint's relative key -> our key), when adapters are here and not there."""
    if any(".lora_" in key for key in found) or not any(".lora_" in key for key in expected):
        return expected
    return {key.replace(".base_layer.", "."): full for key, full in expected.items() if ".lora_" not in key}


def _absent(part: str, parts: Mapping[str, str]) -> str:
    near = [p for p in parts if covers(part, p)]
    return f"the run has no such part. {nearest(part, near or parts)}"


def _difference(
    part: str,
    expected: Mapping[str, str],
    found: Mapping[str, str],
    own: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.Tensor],
) -> str | None:
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    shapes = [
        f"{key} {tuple(weights[found[key]].shape)} instead of {tuple(own[expected[key]].shape)}"
        for key in sorted(set(expected) & set(found))
        if weights[found[key]].shape != own[expected[key]].shape
    ]
    if not (missing or unexpected or shapes):
        return None
    filled = len(expected) - len(missing) - len(shapes)
    groups = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    return f"{part}: {filled} of {len(expected)} tensors; " + "; ".join(groups)
