"""Builds the configuration without its weights (on torch's meta device) and prints what it is: resolved configuration,
parts with parameter counts and what learns, shapes, the tapped block, memory and FLOPs of one step. Nothing is
downloaded, allocated or run; a 3-billion-parameter policy is described on a laptop. FLOPs are counted (a multiply-add
is 2) over a traced forward and backward pass, memory is added up from parameters, gradients, optimiser state and the
tensors that the trace kept for the backward pass.

  lara show experiment=lara_pretrain policy.backbone.path=VLM
  lara show experiment=demo_lara config=false
  lara show experiment=rotvla_tiny config=false      (each of its stages)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONFIG = "train"


def main(overrides: Sequence[str]) -> int:
    from omegaconf import OmegaConf

    from lara.config import compose, left_open
    from lara.stages import stage_commands

    given = [o for o in overrides if not o.startswith("config=")]
    # stages may work on the data of the whole, wherever that will lie
    somewhere = [] if any(o.startswith("data.root=") for o in given) else ["data.root=DATA"]
    stages = stage_commands([*given, *somewhere])
    for name, stage in stages.items():
        print(f"=== stage {name}: {stage.line}\n")
        if stage.command == "train":
            main([*stage.overrides, *(o for o in overrides if o.startswith("config="))])
            print()
    if stages:
        return 0
    with_config = "config=false" not in overrides
    config = compose(CONFIG, given)
    # describing needs no data and no checkpoint: what only names a place on disk may stay open
    for key in ("data.root", "init", "lam_run", "labels"):
        if key in left_open(config):
            OmegaConf.update(config, key, "(to be given)")
    from lara.config import resolved

    plain = resolved(config)
    if with_config:
        shown = {k: v for k, v in plain.items() if k not in ("policy", "lam", "align", "latent")}
        print(OmegaConf.to_yaml(OmegaConf.create(shown)))
    print(describe(plain))
    return 0


def describe(config: dict[str, Any]) -> str:
    """The tables of `lara show` for a resolved conf/train.yaml, as text."""
    from lara.commands.footprint import measure, without_lam
    from lara.evaluation.tables import plain_table

    m = measure(config)
    total = sum(row.parameters for row in m.parts)
    learning = sum(row.learning for row in m.parts)
    rows = [
        [
            r.name,
            r.kind,
            f"{r.parameters:,}",
            f"{r.learning:,}",
            "learns" if r.learning else "frozen" if r.parameters else "-",
        ]
        for r in m.parts
    ]
    rows.append(["all", "", f"{total:,}", f"{learning:,}", ""])
    memory = [[name, f"{size / 2**30:.3f}"] for name, size in m.memory.items()]
    memory.append(["sum", f"{sum(m.memory.values()) / 2**30:.3f}"])
    if m.peak is not None:
        memory.append(["peak of a step", f"{m.peak / 2**30:.3f}"])
    alone = without_lam(config)
    peak_alone = measure(alone).peak if alone is not None and m.peak is not None else None
    if m.peak is not None and peak_alone is not None:
        memory.append(["  of it for LAM and alignment", f"{(m.peak - peak_alone) / 2**30:.3f}"])
    return "\n".join(
        [
            f"stage {m.stage}: {m.steps:,} steps of {m.samples} samples; terms and weights at step 0:",
            plain_table(("term", "weight"), [[k, "off" if v is None else f"{v:g}"] for k, v in m.weights.items()]),
            "",
            plain_table(("part", "class", "parameters", "learning", ""), rows),
            "",
            plain_table(("tensor", "shape of one micro-batch"), [[k, v] for k, v in m.shapes.items()]),
            "",
            f"alignment taps {m.tap}" if m.tap else "no alignment",
            "",
            plain_table(("memory of one device", "GiB"), memory),
            f"\nFLOPs per step: {m.flops / 1e12:.4g} TFLOP ({m.flops / m.samples / 1e9:.4g} GFLOP per sample)"
            + ("; the image-text model in it is estimated as 2 x parameters x tokens" if m.estimated else ""),
        ]
    )
