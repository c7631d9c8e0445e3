"""A resolved configuration -> a training run. The one place where system, data, stage and loop are put together."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from lara.build import build
from lara.data.card import DataCard
from lara.errors import ConfigError
from lara.store.checkpoint import read_checkpoint
from lara.store.files import remove_leftovers
from lara.store.lock import only_one
from lara.train.loop import TrainResult, train
from lara.train.needs import require_actions


def launch(config: dict[str, Any]) -> TrainResult:
    """Trains what a resolved conf/train.yaml describes (see lara.config.compose and resolved).

    One training at a time per output folder: two would prune each other's checkpoints and interleave their logs. The
    data is read, verified and cached before the system is built: what is wrong on disk is said before the first
    step. Weights depend on `seed` alone.
    """
    with contextlib.ExitStack() as alone:
        if os.environ.get("RANK", "0") == "0":  # of several processes of one training, the one that writes
            alone.enter_context(only_one(Path(config["output"]), "training"))
            remove_leftovers(Path(config["output"]) / "checkpoints", locked=True)
        return _launch(config)


def _launch(config: dict[str, Any]) -> TrainResult:
    import torch

    config = with_embodiment(config)
    data = build_data(config)
    data.prepare()
    torch.manual_seed(config["seed"])
    system, stage = build(config["system"], "model"), build(config["stage"], "run")
    require_actions(stage, system, dims=data.card().robot.action.dim, source=str(config["data"]["root"]))
    return train(
        system=system,
        data=data,
        stage=stage,
        optim=build(config["optim"], "run"),
        runtime=build(config["runtime"], "run"),
        trackers=[build(config["tracking"], "run")],
        output=Path(config["output"]),
        config=saved_config(config),
        seed=config["seed"],
        resume=config["resume"],
    )


def build_data(config: dict[str, Any]) -> Any:
    """The data of a configuration, with the statistics of the robot that it inherits, if any. Not yet prepared."""
    statistics = _inherited_statistics(config)
    return build(config["data"], "data", **({} if statistics is None else {"statistics": statistics}))


def with_embodiment(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the robot's slot decided and every known robot's slot listed under "embodiments".

    With `inherit`, a robot that the earlier run knew keeps its slot, and a new one gets the first free slot. Raises
    ConfigError when all slots are taken, and when the policy says which row of its checkpoint belongs to the robot and
    the slot is another.
    """
    name = config["data"]["embodiment"]
    known: dict[str, int] = {}
    if config["inherit"]:
        known = dict(read_checkpoint(Path(config["inherit"])).config["embodiments"])
    if name not in known:
        free = [s for s in range(config["slots"]) if s not in known.values()]
        if not free:
            raise ConfigError(
                f"all {config['slots']} embodiment slots are taken ({known}); raise slots= and pretrain anew"
            )
        wanted = config["data"]["slot"]
        known[name] = wanted if wanted in free else free[0]
    _require_the_named_slot(config, known[name])
    return {**config, "data": {**config["data"], "slot": known[name]}, "embodiments": known}


def _require_the_named_slot(config: dict[str, Any], slot: int) -> None:
    """A policy made elsewhere may name its robot (`embodiment`) and the row of each (`embodiments`), as GR00T does."""
    policy = config["system"].get("policy") or {}
    row = policy.get("embodiments", {}).get(policy.get("embodiment"), slot)
    if row != slot:
        raise ConfigError(
            f"policy.embodiment={policy['embodiment']} is row {row} of the checkpoint, this run would train row "
            f"{slot}: data.slot says so, or an earlier run (inherit=) has another robot there; set "
            "data.slot='${policy.embodiments.${policy.embodiment}}' as the recipes in conf/experiment/hosts do, or "
            "another policy.embodiment"
        )


def _inherited_statistics(config: dict[str, Any]) -> Any:
    """The earlier run's statistics if it trained this very robot: its MLPs were trained in these units."""
    if not config["inherit"]:
        return None
    card = DataCard.from_dict(read_checkpoint(Path(config["inherit"])).card)
    if card.embodiment != config["data"]["embodiment"]:
        return None
    layout = build(config["data"].get("layout"), "data")
    if card.layout != layout:
        raise ConfigError(
            f"{config['inherit']} knows the robot '{card.embodiment}' in the layout {card.layout}, this run gives "
            f"data.layout={layout}; its statistics are in other units, so give both runs one layout or inherit=null"
        )
    relative = build(config["data"].get("relative"), "data")
    if card.relative != relative:
        raise ConfigError(
            f"{config['inherit']} knows the robot '{card.embodiment}' with relative={card.relative}, this run gives "
            f"data.relative={relative}; its statistics are of other numbers, so give both runs one or inherit=null"
        )
    return card.statistics


def saved_config(config: dict[str, Any]) -> dict[str, Any]:
    """What goes into the checkpoint: groups that the system already contains are not kept twice."""
    return {key: value for key, value in config.items() if key not in ("policy", "lam", "align", "latent")}
