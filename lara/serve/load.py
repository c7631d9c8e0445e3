"""A checkpoint on disk -> a system in memory, complete or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from lara.build import build
from lara.errors import CheckpointError
from lara.meta import filled_elsewhere
from lara.serve.limits import no_larger_than
from lara.store.checkpoint import Checkpoint
from lara.store.export import Export, read_saved
from lara.store.plain import decoding

SIDES = ("policy", "lam", "align")


def load_system(
    checkpoint: str | Path, *, sides: tuple[str, ...] = SIDES, ema: bool = True
) -> tuple[Any, Checkpoint | Export]:
    """The system that a checkpoint's own config describes, in eval mode, and the checkpoint.

    checkpoint: a run folder (its latest is taken), one checkpoint folder, or an exported folder. sides: which of
    policy, lam and align to build and load; acting needs only the policy, and what is left out costs no memory. ema:
    the moving average of the weights where there is one. Only this package's classes are built, whatever the config
    says.
    Raises CheckpointError when a side is not there, or when the file does not fill what was built completely.
    """
    saved = read_saved(checkpoint)
    with decoding(saved.path / "config.json", CheckpointError):
        config = dict(saved.config["system"])
    if not config:
        raise CheckpointError(f"{saved.path / 'config.json'} describes no system")
    absent = [side for side in sides if side != "align" and config.get(side) is None]
    if absent and sides != SIDES:
        there = [side for side in SIDES if config.get(side) is not None]
        raise CheckpointError(f"{checkpoint} holds no {' and no '.join(absent)}; it holds {', '.join(there)}")
    config |= {side: None for side in SIDES if side in config and side not in sides}
    if "policy" not in sides:
        config.pop("tuning", None)
    weights = {k: v for k, v in saved.weights(ema=ema).items() if k.split(".")[0] in sides}
    with filled_elsewhere(), no_larger_than(weights, checkpoint):
        system = build(config, "model")
    parts = [getattr(system, side, None) for side in sides if config.get(side) is not None]
    if not all(isinstance(part, nn.Module) for part in (system, *parts)):
        raise CheckpointError(f"{checkpoint}: its configuration describes no system with {' and '.join(sides)}")
    own = system.state_dict()
    missing, unexpected = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    wrong = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    if missing or unexpected or wrong:
        raise CheckpointError(
            f"{checkpoint} does not fill its own system: {len(missing)} of {len(own)} tensors missing (first: "
            f"{missing[:3]}), {len(unexpected)} unexpected (first: {unexpected[:3]}), {len(wrong)} of another shape "
            f"(first: {wrong[:3]}); it was probably written by another version of lara, see its versions.json"
        )
    system.load_state_dict(weights)
    return system.eval(), saved


def load_lam(checkpoint: str | Path, *, ema: bool = True) -> tuple[Any, Checkpoint | Export]:
    """The `LatentActionModel` of a run, a checkpoint or an exported folder, in eval mode, and where it came from.

    `saved.card` says which frames it was trained on (frame_gap, lam_cameras, lam_image_size, image_fit). Raises
    CheckpointError as `load_system` does.
    """
    system, saved = load_system(checkpoint, sides=("lam",), ema=ema)
    return system.lam, saved
