"""A resolved configuration -> a training run. The one place where system, data, stage and loop are put together."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from lara.config.build import build
from lara.data.card import Cards
from lara.data.configuration import embodiments_of, slots_for, spread, with_slots
from lara.errors import CheckpointError, ConfigError
from lara.store.checkpoint import read_checkpoint, step_folders
from lara.store.lock import require_free
from lara.store.plain import decoding
from lara.train.limits import require_meant
from lara.train.loop import report_finished, train
from lara.train.needs import require_actions, require_views
from lara.train.parallel import require_device
from lara.train.result import TrainResult
from lara.train.resume import finished_before
from lara.train.runtime import RuntimeConfig
from lara.train.signals import StopRequest
from lara.train.stage import Stage, apply_stage


def launch(config: dict[str, Any], *, stop: StopRequest | None = None) -> TrainResult:
    """Trains what a resolved conf/train.yaml describes (see lara.config.compose.compose and resolved).

    First what costs nothing: whether there is anything left to do, whether the run is meant, the dataset's metadata.
    Then the system with its weights, and only when stage, data and system fit together the dataset is read through and
    cached. Weights depend on `seed` alone.

    Args:
        config: see conf/train.yaml.
        stop: the caller's, entered already (see lara.train.signals); None: signals are caught in here.
    """
    import torch

    with contextlib.ExitStack() as cleanup:
        stop = cleanup.enter_context(StopRequest()) if stop is None else stop
        if os.environ.get("RANK", "0") == "0":  # asked before hours of preparation; `train` holds the lock
            require_free(Path(config["output"]), "training")
        config = with_embodiments(config)
        output, saved = Path(config["output"]), saved_config(config)
        stage, optim, runtime, tracking = (build(config[k], "run") for k in ("stage", "optim", "runtime", "tracking"))
        finished = finished_before(output, stage=stage, config=saved, resume=config["resume"])
        if finished is not None:
            report_finished(finished, optim)
            return finished
        _require_meant(config, stage, runtime, output)
        data = build_data(config)
        require_views(config["system"], cameras=data.cameras, lam_cameras=data.lam_cameras, source=data.name)
        torch.manual_seed(config["seed"])
        system = build(config["system"], "model")
        require_actions(stage, system, dims=data.action_dim, source=data.name)
        return train(
            system=system,
            data=data,
            stage=stage,
            optim=optim,
            runtime=runtime,
            trackers=[tracking],
            output=output,
            config=saved,
            seed=config["seed"],
            resume=config["resume"],
            stop=stop,
        )


def _require_meant(config: dict[str, Any], stage: Stage, runtime: RuntimeConfig, output: Path) -> None:
    """What this machine cannot do, and what nobody means to start by accident (train.limits); asked of fresh runs."""
    import torch

    on_cpu = require_device(runtime)
    if step_folders(output / "checkpoints"):
        return
    with torch.device("meta"):
        # moved, because some libraries make their constants on the CPU all the same
        system = build(config["system"], "model").to("meta")
    require_meant(config, apply_stage(system, stage), stage, on_cpu=on_cpu, precision=runtime.precision)


def build_data(config: dict[str, Any]) -> Any:
    """The data of a configuration, with the statistics of the robots that it inherits, if any. Not yet prepared."""
    data = build(spread(config["data"]), "data")
    if config["inherit"]:
        record = read_checkpoint(Path(config["inherit"])).card
        with decoding(config["inherit"], CheckpointError):
            cards = Cards.from_dict(record)
        data.inherit(cards)
    return data


def with_embodiments(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with every robot's slot decided and every known robot's slot listed under "embodiments".

    With `inherit`, a robot that the earlier run knew keeps its slot, and a new one gets the first free slot. Raises
    ConfigError when all slots are taken, and when the policy says which row of its checkpoint belongs to the robot and
    the slot is another.
    """
    data, known = spread(config["data"]), dict[str, int]()
    if config["inherit"]:
        earlier = read_checkpoint(Path(config["inherit"])).config
        with decoding(config["inherit"], CheckpointError):
            known = {str(robot): int(slot) for robot, slot in earlier["embodiments"].items()}
    slots = slots_for(data, known=known, slots=config["slots"])
    for name in embodiments_of(data):
        _require_the_named_slot(config, slots[name])
    return {**config, "data": with_slots(data, slots), "embodiments": slots}


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


def saved_config(config: dict[str, Any]) -> dict[str, Any]:
    """What goes into the checkpoint: groups that the system already contains are not kept twice."""
    return {key: value for key, value in config.items() if key not in ("policy", "lam", "objective", "align", "latent")}
