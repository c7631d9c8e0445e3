"""Builds the configuration without its weights (on torch's meta device) and prints what it is: resolved configuration,
parts with parameter counts and what learns, shapes, the tapped block, memory and FLOPs of one step. Nothing is
downloaded, allocated or run; a 3-billion-parameter policy is described on a laptop. FLOPs are counted (a multiply-add
is 2) over a traced forward and backward pass, memory is added up from parameters, gradients, optimiser state and the
tensors that the trace kept for the backward pass.

  lara show experiment=lara/pretrain policy.backbone.path=VLM
  lara show experiment=demo/lara config=false
  lara show experiment=rotvla/tiny config=false      (each of its stages)
"""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = "train"
PLACES = ("data.root", "init", "lam_run", "labels")  # on disk: describing needs no data and no checkpoint


def main(overrides: Sequence[str]) -> int:
    from lara.config.pipeline import stage_commands

    given = [o for o in overrides if not o.startswith("config=")]
    # stages may work on the data of the whole, wherever that will lie
    somewhere = [] if any(o.startswith("data.root=") for o in given) else ["data.root=DATA"]
    stages = stage_commands([*given, *somewhere])
    for name, stage in stages.items():
        print(f"=== stage {name}: {stage.line}\n")
        if stage.command == "train":
            main([*stage.overrides, *(o for o in overrides if o.startswith("config="))])
            print()
    if not stages:
        _show(given, with_config="config=false" not in overrides)
    return 0


def _show(overrides: Sequence[str], *, with_config: bool) -> None:
    from omegaconf import OmegaConf

    from lara.config.compose import compose, left_open, resolved
    from lara.inspect.describe import describe

    config = compose(CONFIG, overrides)
    for key in PLACES:
        if key in left_open(config):
            OmegaConf.update(config, key, "(to be given)")
    plain = resolved(config)
    if with_config:
        shown = {k: v for k, v in plain.items() if k not in ("policy", "lam", "objective", "align", "latent")}
        print(OmegaConf.to_yaml(OmegaConf.create(shown)))
    print(describe(plain))
