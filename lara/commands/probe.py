"""Asks a run's latent action model, on held-out episodes, whether its latents mean anything; with baselines beside.

  lara probe checkpoint=outputs/demo/demo_lam output=outputs/probe_demo
  lara probe checkpoint=outputs/my_run output=outputs/probe probe=[linear,algebra] clips=1024
  lara probe checkpoint=outputs/moto data_of=outputs/my_run output=outputs/probe_moto

Writes probes.json and probes.html (one page, nothing beside it). A probe that does not apply to this model (codes of a
space without codes, say) is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lara.probes.result import Result

CONFIG = "probe"


def main(overrides: Sequence[str]) -> int:
    from lara.config import compose, resolved

    config = resolved(compose(CONFIG, overrides))
    results, reasons = probe(config)
    for name in results:
        print(f"{name:12} done")
    for name, reason in reasons.items():
        print(f"{name:12} does not apply: {reason}")
    print(Path(config["output"]) / "probes.html")
    return 0 if results else 1


def probe(config: dict[str, Any]) -> tuple[dict[str, Result], dict[str, str]]:
    """Runs the probes of a resolved conf/probe.yaml and writes both files; returns (results, name -> why not)."""
    import json

    from lara.commands.probe_page import write_page
    from lara.errors import ConfigError, LaraError, nearest
    from lara.launch import build_data
    from lara.serve.load import load_system
    from lara.store.export import read_saved

    unknown = [name for name in config["probe"] if name not in NAMES]
    if unknown or not config["probe"]:
        raise ConfigError(f"there is no probe '{unknown[0]}'. {nearest(unknown[0], NAMES)}" if unknown else "probe=[]")
    system, saved = load_system(config["checkpoint"], sides=("lam",), ema=config["ema"])
    source = read_saved(config["data_of"]).config if config["data_of"] else saved.config
    if "data" not in source:
        raise ConfigError(f"{config['checkpoint']} was imported and knows no data; give data_of=<a run on this data>")
    settings = {**source["data"], "cameras": []} | ({"root": config["root"]} if config["root"] else {})
    data = build_data({**source, "inherit": None, "data": settings})
    data.prepare()
    probes = _probes(system.lam, data, config)
    results: dict[str, Result] = {}
    reasons: dict[str, str] = {}
    for name in config["probe"]:
        try:
            results[name] = probes[name]()
        except LaraError as error:
            reasons[name] = str(error)
    about = {
        "checkpoint": str(config["checkpoint"]),
        "step": saved.step,
        "latent": f"{system.lam.queries} x {system.lam.space.dim}, {type(system.lam.space).__name__}",
        "data": str(settings["root"]),
        "camera": data.lam_cameras[config["view"]],
        "held_out_episodes": len(data.validation_episodes),
    }
    output = Path(config["output"])
    output.mkdir(parents=True, exist_ok=True)
    record = {
        **about,
        "config": config,
        "parameters": sum(p.numel() for p in system.lam.parameters()),
        # with the clips asked for, these say which clips they were
        "clips_of": {
            "episodes": [int(k) for k in data.validation_episodes],
            "stride": config["stride"] or data.frame_gap,
            "image_size": data.lam_image_size,
        },
        "probes": {name: result.json() for name, result in results.items()},
        "not_applicable": reasons,
    }
    (output / "probes.json").write_text(json.dumps(record, indent=1) + "\n")
    write_page(output / "probes.html", about, results, reasons)
    return results, reasons


NAMES = (
    "algebra",
    "horizons",
    "degeneration",
    "linear",
    "mlp",
    "classify",
    "codebook",
    "determinism",
    "transfer",
    "attention",
    "map2d",
)


def _probes(lam: Any, data: Any, config: dict[str, Any]) -> dict[str, Callable[[], Result]]:
    """Name -> a call without arguments. Clips and features that several probes need are made once, when first asked."""
    from functools import cache

    from lara.probes.algebra import algebra
    from lara.probes.attention import attention
    from lara.probes.classify import classify
    from lara.probes.clips import sample_clips
    from lara.probes.codebook import codebook
    from lara.probes.degeneration import degeneration
    from lara.probes.determinism import determinism
    from lara.probes.horizons import horizons
    from lara.probes.linear import linear_probe
    from lara.probes.map2d import map2d
    from lara.probes.mlp import mlp_probe
    from lara.probes.regression import features
    from lara.probes.transfer import transfer

    h = config["stride"] or data.frame_gap

    @cache
    def clips(steps: int) -> Any:
        offsets = [h * t for t in range(steps + 1)]
        return sample_clips(data, data.validation_episodes, offsets=offsets, limit=config["clips"], view=config["view"])

    @cache
    def sides() -> tuple[Any, Any]:
        fit = sample_clips(data, data.training_episodes, offsets=[0, h], limit=config["fit_clips"], view=config["view"])
        return fit, clips(1)

    @cache
    def both() -> tuple[Any, Any, Any, Any]:
        fit, test = sides()
        return features(lam, fit), fit, features(lam, test), test

    return {
        "algebra": lambda: algebra(lam, clips(config["horizons"])),
        "horizons": lambda: horizons(lam, clips(config["horizons"]), perceptual=lam.perceptual),
        "degeneration": lambda: degeneration(lam, clips(2)),
        "linear": lambda: linear_probe(*both()),
        "mlp": lambda: mlp_probe(*both(), **config["mlp"]),
        "classify": lambda: classify(lam, *sides(), **config["classify"]),
        "codebook": lambda: codebook(lam, clips(1)),
        "determinism": lambda: determinism(lam, clips(2)),
        "transfer": lambda: transfer(lam, clips(1)),
        "attention": lambda: attention(lam, clips(1)),
        "map2d": lambda: map2d(lam, clips(1), dims=tuple(config["map_dims"])),
    }
