"""Whether the data holds what a stage learns from, asked before the first step."""

from __future__ import annotations

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
