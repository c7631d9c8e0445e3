"""A checkpoint on disk -> a system, or one side of it, in memory; complete or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lara.config.build import build
from lara.data.card import Cards
from lara.errors import CheckpointError
from lara.nn.weightless import filled_elsewhere
from lara.serve.limits import no_larger_than
from lara.store.checkpoint import Checkpoint
from lara.store.export import Export, read_saved
from lara.store.plain import decoding
from lara.systems.system import System


def load_system(checkpoint: str | Path, *, ema: bool = True) -> tuple[Any, Checkpoint | Export]:
    """The whole system that a checkpoint's own config describes, in eval mode, and the checkpoint.

    Args:
        checkpoint: a run folder (its latest is taken), one checkpoint folder, or an exported folder.
        ema: the moving average of the weights where there is one.

    Raises:
        CheckpointError: when the config describes no system, or the file does not fill completely what was built.
    """
    saved = read_saved(checkpoint)
    return _filled_system(_system_config(saved), saved.weights(ema=ema), checkpoint), saved


def load_policy_side(checkpoint: str | Path, *, ema: bool = True) -> tuple[Any, Checkpoint | Export]:
    """The system with its policy alone, which is all that acting needs: what is left out costs no memory.

    Arguments and errors are those of `load_system`; CheckpointError, too, when the run trained no policy.
    """
    saved = read_saved(checkpoint)
    config = _system_config(saved)
    _require("policy", config, checkpoint)
    left_out = {name: None for name in ("lam", "objective", "coupling") if name in config}
    weights = {name: value for name, value in saved.weights(ema=ema).items() if name.startswith("policy.")}
    system = _filled_system({**config, **left_out}, weights, checkpoint)
    if not isinstance(getattr(system, "policy", None), nn.Module):
        raise CheckpointError(f"{checkpoint}: its configuration describes no system with a policy")
    return system, saved


def load_lam(checkpoint: str | Path, *, ema: bool = True) -> tuple[Any, Checkpoint | Export]:
    """The latent action model of a run, a checkpoint or an exported folder, in eval mode, and where it came from.

    `lam_facts(saved)` says which frames it was trained on. Arguments and errors are those of `load_system`;
    CheckpointError, too, when there is no latent action model.
    """
    saved = read_saved(checkpoint)
    config = _system_config(saved)
    _require("lam", config, checkpoint)
    own = {name: value for name, value in saved.weights(ema=ema).items() if name.startswith("lam.")}
    return _filled(config["lam"], {k.removeprefix("lam."): v for k, v in own.items()}, checkpoint), saved


def lam_facts(saved: Checkpoint | Export) -> dict[str, Any]:
    """What is known of the frames that a LAM was trained on: some of frame_gap, fps, lam_cameras, lam_image_size,
    image_fit.

    Raises:
        CheckpointError: for records that are none.
    """
    with decoding(saved.path, CheckpointError):
        return Cards.from_dict(saved.card).lam_facts() if "embodiments" in saved.card else dict(saved.card)


def _system_config(saved: Checkpoint | Export) -> dict[str, Any]:
    with decoding(saved.path / "config.json", CheckpointError):
        config = dict(saved.config["system"])
    if not config:
        raise CheckpointError(f"{saved.path / 'config.json'} describes no system")
    return config


def _require(side: str, config: Mapping[str, Any], checkpoint: str | Path) -> None:
    there = [name for name in ("policy", "lam") if config.get(name) is not None]
    if side not in there:
        raise CheckpointError(f"{checkpoint} holds no {side}; it holds {', '.join(there) or 'neither policy nor lam'}")


def _filled_system(config: Any, weights: Mapping[str, Tensor], checkpoint: str | Path) -> System:
    system = _filled(config, weights, checkpoint)
    if not isinstance(system, System):
        raise CheckpointError(f"{checkpoint}: its configuration describes no system, but a {type(system).__name__}")
    return system


def _filled(config: Any, weights: Mapping[str, Tensor], checkpoint: str | Path) -> nn.Module:
    """What `config` describes, every tensor of it from `weights`, in eval mode."""
    with filled_elsewhere(), no_larger_than(weights, checkpoint):
        made = build(config, "model")
    if not isinstance(made, nn.Module):
        raise CheckpointError(f"{checkpoint}: its configuration describes no model, but a {type(made).__name__}")
    own = made.state_dict()
    missing, unexpected = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    wrong = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    if missing or unexpected or wrong:
        raise CheckpointError(
            f"{checkpoint} does not fill what its config describes: {len(missing)} of {len(own)} tensors missing "
            f"(first: {missing[:3]}), {len(unexpected)} unexpected (first: {unexpected[:3]}), {len(wrong)} of another "
            f"shape (first: {wrong[:3]}); it was probably written by another version of lara, see its versions.json"
        )
    made.load_state_dict(weights)
    return made.eval()
