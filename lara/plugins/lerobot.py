"""LARA on an instance of lerobot's policies: which module to read, at which token, and the frames out of its batch.

    model = attach_lerobot(policy, lam)                       # the paper's depth for each kind
    loss, info = model(batch, lara=frames_of(batch, camera="observation.images.top"))

Places were read off huggingface/lerobot v0.4.4 and v0.6 (Apache-2.0), policies/*/modeling_*.py: in training, pi0, pi0.5
and SmolVLA call the insides of each layer by hand and never the layer, so what ENTERS the next norm is read. lerobot
itself is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.plugins.attach import Attached, Frames, attach
from lara.plugins.capture import Point
from lara.policy.hosts.families import places
from lara.policy.hosts.shared.lerobot import Places

_XVLA = "model.transformer"  # action tokens come first, and only they enter the last norm
# of lerobot's policies that lara has as hosts, by their families; of others here
PLACES = {
    **places(),
    "xvla": Places(_XVLA + ".blocks", "", _XVLA + ".action_decoder", f"{_XVLA}.norm", 0, -2),
}


def attach_lerobot(policy: nn.Module, lam: LatentActionModel, *, depth: int | None = None, **settings: Any) -> Attached:
    """`attach` at a depth instead of a path.

    depth: as in policy.expert.tapped_state: -2 is after layer L-2, 0 after the last and its norm, k after layer k; None
    is the paper's, 0 for pi0, pi0.5 and SmolVLA, -2 for the others. settings: of `attach`.
    Raises ConfigError for a policy or a depth without a place.
    """
    kind = getattr(policy, "name", None)
    if kind not in PLACES:
        raise ConfigError(
            f"no places are known in lerobot's '{kind}' ({type(policy).__name__}); known are {', '.join(PLACES)}. Use "
            "lara.attach with the path of a module"
        )
    if getattr(getattr(policy, "config", None), "compile_model", False):
        raise ConfigError(
            "a policy with config.compile_model=True runs as a CUDA graph, which overwrites the state that is read; "
            "build it with compile_model=False and compile what attach returns, if at all"
        )
    tap, point = place(policy, PLACES[kind], PLACES[kind].depth if depth is None else depth)
    return attach(policy, lam, tap=tap, point=point, first_action=PLACES[kind].first_action, **settings)


def place(policy: nn.Module, places: Places, depth: int) -> tuple[str, Point]:
    """(path, point) of the module at which a depth's state is seen. Raises ConfigError for a depth that has none."""
    layers = len(policy.get_submodule(places.layers))  # type: ignore[arg-type]
    after = layers if depth == 0 else layers + depth if depth < 0 else depth
    if not 1 <= after <= layers:
        raise ConfigError(f"depth {depth} names no layer of {layers}; allowed are {1 - layers}..-1, 0 and 1..{layers}")
    if depth == 0:
        return places.final, "input"
    if not places.between:
        return f"{places.layers}.{after - 1}", "output"
    return (places.before_final if after == layers else f"{places.layers}.{after}.{places.between}"), "input"


def frames_of(batch: Mapping[str, Any], *, camera: str, future: str | None = None) -> Frames:
    """The LAM's frames and the real steps out of a lerobot batch.

    camera: the key of the picture now, (B, 3, h, w), uint8 or float in [0, 1]. future: the key of the picture after the
    chunk, default "lara.future.<name of the camera>"; it must not be declared as one of the policy's images, and it is
    real where "<future>_is_pad" is not set. The steps come from "action_is_pad", (B, H); without it all are real.
    Raises ConfigError for a picture that is missing or of another kind.
    """
    later = future or f"lara.future.{camera.rsplit('.', 1)[-1]}"
    pictures = []
    for key in (camera, later):
        if key not in batch:
            raise ConfigError(f"the batch has no '{key}'; it has {sorted(map(str, batch))}")
        pictures.append(_uint8(batch[key], key))
    if pictures[0].shape != pictures[1].shape:
        raise ConfigError(f"'{camera}' is {tuple(pictures[0].shape)} and '{later}' {tuple(pictures[1].shape)}")
    actions = batch["action"]
    padded = batch.get("action_is_pad")
    steps = torch.ones(actions.shape[:2], dtype=torch.bool, device=actions.device) if padded is None else ~padded
    missing = batch.get(f"{later}_is_pad")
    return Frames(
        torch.stack(pictures, dim=1), steps=steps, real=None if missing is None else ~missing.flatten(1).any(1)
    )


def _uint8(picture: Tensor, key: str) -> Tensor:
    if picture.ndim != 4 or picture.shape[1] != 3:
        raise ConfigError(f"'{key}' is {tuple(picture.shape)}, expected (B, 3, height, width): one picture per sample")
    if picture.dtype == torch.uint8:
        return picture
    return (picture.float() * 255).round().clamp(0, 255).to(torch.uint8)
