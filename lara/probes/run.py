"""A checkpoint and data -> the probes' results, `probes.json` and `probes.html`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lara.data.example import frames_alone
from lara.errors import ConfigError, LaraError, nearest
from lara.launch import build_data
from lara.pages.render import write_page
from lara.probes.algebra import algebra
from lara.probes.attention import attention
from lara.probes.classify import classify
from lara.probes.clips import Clips, sample_clips
from lara.probes.codebook import codebook
from lara.probes.degeneration import degeneration
from lara.probes.determinism import determinism
from lara.probes.horizons import horizons
from lara.probes.linear import linear_probe
from lara.probes.map2d import map2d
from lara.probes.mlp import mlp_probe
from lara.probes.page import page
from lara.probes.regression import features
from lara.probes.result import Result
from lara.probes.transfer import transfer
from lara.serve.load import load_lam
from lara.store.export import read_saved
from lara.store.records import write_json


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What probing gave.

    Attributes:
        results: Probe -> its result.
        reasons: Probe -> why it does not apply to this model or data.
    """

    results: Mapping[str, Result]
    reasons: Mapping[str, str]


def probe(config: Mapping[str, Any]) -> Probed:
    """Runs the probes of a resolved conf/probe.yaml and writes both files into its output.

    Raises:
        ConfigError: A probe does not exist, or the checkpoint knows no data and none is named.
    """
    unknown = [name for name in config["probe"] if name not in PROBES]
    if unknown or not config["probe"]:
        raise ConfigError(f"there is no probe '{unknown[0]}'. {nearest(unknown[0], PROBES)}" if unknown else "probe=[]")
    lam, saved = load_lam(config["checkpoint"], ema=config["ema"])
    source = read_saved(config["data_of"]).config if config["data_of"] else saved.config
    if "data" not in source:
        raise ConfigError(f"{config['checkpoint']} was imported and knows no data; give data_of=<a run on this data>")
    # of a stranger's configuration no folder is taken but the data's own: nothing is written where it says
    settings = frames_alone(source["data"]) | ({"root": config["root"]} if config["root"] else {})
    data = build_data({**source, "inherit": None, "data": settings})
    data.prepare()
    found = _run(_Asked(lam, data, config), config["probe"])
    about = {
        "checkpoint": str(config["checkpoint"]),
        "step": saved.step,
        "latent": f"{lam.queries} x {lam.space.dim}, {type(lam.space).__name__}",
        "data": str(settings["root"]),
        "camera": data.lam_cameras[config["view"]],
        "held_out_episodes": len(data.validation_episodes),
    }
    record = {
        **about,
        "config": config,
        "parameters": sum(p.numel() for p in lam.parameters()),
        # with the clips asked for, these say which clips they were
        "clips_of": {
            "episodes": [int(k) for k in data.validation_episodes],
            "stride": config["stride"] or data.frame_gap,
            "image_size": data.lam_image_size,
        },
        "probes": {name: result.json() for name, result in found.results.items()},
        "not_applicable": found.reasons,
    }
    output = Path(config["output"])
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "probes.json", record)
    write_page(output / "probes.html", page(about, found.results, found.reasons))
    return found


def _run(asked: _Asked, names: list[str]) -> Probed:
    results: dict[str, Result] = {}
    reasons: dict[str, str] = {}
    for name in names:
        try:
            results[name] = PROBES[name](asked)
        except LaraError as error:
            reasons[name] = str(error)
    return Probed(results=results, reasons=reasons)


class _Asked:
    """A LAM, its data and the settings. Clips and features that several probes need are made once, when first asked."""

    def __init__(self, lam: Any, data: Any, config: Mapping[str, Any]) -> None:
        self.lam, self.data, self.config = lam, data, config
        self.h: int = config["stride"] or data.frame_gap
        self.clips = cache(self._clips)
        self.sides = cache(self._sides)
        self.features = cache(self._features)

    def _clips(self, steps: int) -> Clips:
        """Held-out clips of frames at 0, h, ..., steps * h."""
        return self._sample(self.data.validation_episodes, steps, self.config["clips"])

    def _sides(self) -> tuple[Clips, Clips]:
        """Pairs to fit a probe on, and pairs to score it on."""
        return self._sample(self.data.training_episodes, 1, self.config["fit_clips"]), self.clips(1)

    def _features(self) -> tuple[Any, Clips, Any, Clips]:
        fit, test = self.sides()
        return features(self.lam, fit), fit, features(self.lam, test), test

    def _sample(self, episodes: Any, steps: int, limit: int) -> Clips:
        offsets = [self.h * t for t in range(steps + 1)]
        return sample_clips(self.data, episodes, offsets=offsets, limit=limit, view=self.config["view"])


PROBES: dict[str, Callable[[_Asked], Result]] = {
    "algebra": lambda a: algebra(a.lam, a.clips(a.config["horizons"])),
    "horizons": lambda a: horizons(a.lam, a.clips(a.config["horizons"]), perceptual=a.lam.perceptual),
    "degeneration": lambda a: degeneration(a.lam, a.clips(2)),
    "linear": lambda a: linear_probe(*a.features()),
    "mlp": lambda a: mlp_probe(*a.features(), **a.config["mlp"]),
    "classify": lambda a: classify(a.lam, *a.sides(), **a.config["classify"]),
    "codebook": lambda a: codebook(a.lam, a.clips(1)),
    "determinism": lambda a: determinism(a.lam, a.clips(2)),
    "transfer": lambda a: transfer(a.lam, a.clips(1)),
    "attention": lambda a: attention(a.lam, a.clips(1)),
    "map2d": lambda a: map2d(a.lam, a.clips(1), dims=tuple(a.config["map_dims"])),
}
