"""Whether the data holds what a stage learns from and a system reads, asked before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lara.errors import ConfigError
from lara.systems.system import System
from lara.train.stage import Stage


def require_actions(stage: Stage, system: System, *, dims: int, source: str) -> None:
    """Raises ConfigError when the stage weighs terms over actions (at any step) and the data has none.

    Such terms would be 0 at every step, and the parts that they alone move would be saved as they were drawn. dims: the
    action dimensions of the data. source: its name, for the message.
    """
    if dims > 0:
        return
    asked = {name for name, weight in stage.weights.items() if weight.value is not None}
    wanting = [name for name in system.action_terms() if name in asked]
    if wanting:
        raise ConfigError(
            f"stage '{stage.name}' weighs {', '.join(wanting)}: expected data with robot actions, {source} has none "
            f"(0 action dimensions). Set {', '.join(f'stage.weights.{name}=null' for name in wanting)} to learn from "
            "its frames alone, train a stage that does (experiment=rotvla/tiny_lam, rotvla/tiny_pretrain), or "
            "give latents as actions (data.actions, from `lara label`)"
        )


def require_views(
    system: Mapping[str, Any], *, cameras: Sequence[str], lam_cameras: Sequence[str], source: str
) -> None:
    """Raises ConfigError where a policy or an alignment is made for another number of cameras than the data shows.

    They would say so at the first batch, but not before the whole dataset is cached, nor which cameras there are.

    Args:
        system: its configuration, because what is to be changed is there.
        cameras, lam_cameras: what the data shows the policy and the LAM. source: its name, for the message.
    """
    policy, coupling = system.get("policy") or {}, system.get("coupling") or {}
    own = (policy.get("backbone") or {}).get("views")
    most = policy.get("views")
    if own and len(cameras) != own:
        raise ConfigError(_views("the policy", "policy.backbone.views", own, "data.cameras", cameras, source))
    if most is not None and len(cameras) > most:
        raise ConfigError(_views("the policy", "policy.views", most, "data.cameras", cameras, source))
    aligned = coupling.get("views")
    if aligned is not None and lam_cameras and len(lam_cameras) != aligned:
        raise ConfigError(_views("the LAM", "align.views", aligned, "data.lam.cameras", lam_cameras, source))


def _views(who: str, key: str, views: int, choice: str, cameras: Sequence[str], source: str) -> str:
    some = f"[{','.join(cameras[:views])}]" if len(cameras) >= views else "[...]"
    return (
        f"{source} shows {who} {len(cameras)} camera{'' if len(cameras) == 1 else 's'} "
        f"({', '.join(cameras) or 'none'}), and {key}={views}; choose with {choice}={some}, or let it see all with "
        f"{key}={len(cameras)}"
    )
