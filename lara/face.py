"""What `lara train` and `lara eval` do, as functions: the same overrides and errors, a result instead of a code."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lara.errors import ConfigError

if TYPE_CHECKING:
    from lara.train.result import TrainResult
    from lara.train.signals import StopRequest

_log = logging.getLogger("lara.train")


def run_training(*overrides: str, stop: StopRequest | None = None) -> TrainResult:
    """Trains one stage, or the stages of an experiment that lists several, exactly as `lara train` does.

    A run that was interrupted goes on from its last checkpoint; one that is finished is not repeated. Signals that
    arrive while it trains (SIGTERM, SIGINT, SIGHUP, SIGUSR1) are answered by finishing and saving the step.

    Args:
        overrides: what would follow `lara train` on a command line: `"experiment=demo/lara"`, `"data.root=D"`.
        stop: the caller's own handling of signals, already entered; None: signals are caught during the call.

    Returns:
        Of the one training, or of the last that ran. Ask `.finished`: False means that a signal stopped it (of several
            stages, those behind it have not begun), and the same call goes on.

    Raises:
        ConfigError: an override names nothing, or does not fit the others; nothing has run.
        LaraError: whatever else `lara train` would end with exit code 2 for.

    Example:
        ```python
        result = lara.run_training("experiment=demo/lara", "data.root=data/two", "output=outputs/two")
        print(result.checkpoint, result.metrics["loss"])
        ```
    """
    from lara.commands.label import write_labels
    from lara.config.compose import compose, resolved
    from lara.config.pipeline import stage_commands, stage_configs
    from lara.launch import launch

    stages = stage_commands(overrides)
    if not stages:
        return launch(resolved(compose("train", overrides)), stop=stop)
    if all(stage.command == "label" for stage in stages.values()):
        raise ConfigError(
            f"the stages {list(stages)} only label, and nothing trains; write them as `lara label` commands"
        )
    result = None
    for number, (name, config) in enumerate(stage_configs(stages).items(), 1):
        _log.info("[stage %d of %d: %s] %s", number, len(stages), name, config["output"])
        if stages[name].command == "label":
            write_labels(config)
            continue
        result = launch(config, stop=stop)
        if result.exit_code:
            break  # the next stage would start from half a training
    assert result is not None
    return result


def evaluate(*overrides: str) -> dict[str, Any]:
    """Rolls a policy out on the episodes of a protocol, exactly as `lara eval` does.

    An evaluation that was interrupted goes on where it was.

    Args:
        overrides: what would follow `lara eval` on a command line: `"client.checkpoint=RUN"`, `"output=FOLDER"`.

    Returns:
        The content of `<output>/summary.json`: `tasks`, `tiers` and `overall` with success rates in [0, 1] and their
            intervals, `episodes`, `errors`, the hash of the protocol and the policy's card.

    Raises:
        ConfigError: an override names nothing, or policy, protocol and benchmark do not fit; nothing has run.
        SpecError: the policy's units are not the body's; nothing has run.
        LaraError: some episodes ended in an error. Everything is written; the same call retries them.

    Example:
        ```python
        summary = lara.evaluate("client.checkpoint=outputs/two", "output=outputs/eval_two")
        print(summary["overall"]["rate"])
        ```
    """
    from importlib import import_module

    from lara.config.compose import compose, resolved

    config = resolved(compose("eval", overrides))
    # named, not imported: lara knows no simulator, and an installation without one has every other command
    run: Any = import_module("sim_eval.run")
    summary: dict[str, Any] = run.evaluate(
        benchmark=config["benchmark"]["environment"],
        policy=config["policy"],
        protocol={k: v for k, v in config["protocol"].items() if k != "_target_"},
        output=Path(config["output"]),
        processes=config["processes"],
        videos=config["videos"],
        episode_timeout=config["episode_timeout"],
    )
    return summary
