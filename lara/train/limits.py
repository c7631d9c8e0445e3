"""What nobody means to start by accident: a paper-size run from random weights, or on a processor in float32.

Sizes are read off a system on torch's meta device, so that nothing large is built, read or downloaded to find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from lara.errors import ConfigError, nearest
from lara.train.report import count
from lara.train.stage import AppliedStage, Stage

LARGE = 50_000_000  # parameters of a policy or LAM; the tiny and demo recipes stay below 10 M, the papers' above 90 M
LARGE_ON_CPU = 300_000_000  # learning parameters, of which float32 AdamW keeps 16 bytes each
CHOICES = ("random_weights", "random_lam", "cpu")
_WEIGHT_KEYS = ("path", "weights")


def require_meant(
    config: Mapping[str, Any], applied: AppliedStage, stage: Stage, *, on_cpu: bool, precision: str
) -> None:
    """Refuses to start a large run that lacks what its recipe leaves open.

    Args:
        config: a resolved conf/train.yaml; `insist` lists what is meant all the same.
        applied: the stage applied to the system, which may lie on the meta device.

    Raises:
        ConfigError: naming every reason, the keys that remove it, and the word that insists.
    """
    insist = _insisted(config.get("insist", []))
    reasons = [
        *(() if "random_weights" in insist else _random_weights(config["system"], applied.system, stage)),
        *(() if "random_lam" in insist else _random_lam(config, applied.system)),
        *(() if "cpu" in insist else _slow(applied, on_cpu=on_cpu, precision=precision)),
    ]
    if reasons:
        raise ConfigError("this run would start, but hardly as it is meant:\n" + "\n".join(f"  {r}" for r in reasons))


def _insisted(words: Any) -> Sequence[str]:
    if not isinstance(words, list | tuple):
        raise ConfigError(f"insist is a list of {', '.join(CHOICES)}; got {words!r}")
    for word in words:
        if word not in CHOICES:
            raise ConfigError(f"insist knows no '{word}'. {nearest(str(word), CHOICES)}")
    return words


def _random_weights(system: Mapping[str, Any], built: nn.Module, stage: Stage) -> Iterator[str]:
    """Places of the system's configuration where pretrained weights may be named, are not, and do not come with
    `stage.load`."""
    for path, key in _left_null(system):
        module = _module(built, path)
        loaded = any(path == prefix or path.startswith(f"{prefix}.") for prefix in stage.load)
        if module is None or loaded or (size := _parameters(module)) < LARGE:
            continue
        side = path.split(".")[0]
        yield (
            f"{path}.{key}=null: {count(size)} parameters of {type(module).__name__} would start from random numbers. "
            f"Give {path}.{key}=FOLDER or stage.load.{side}=RUN, or insist: insist=[random_weights]"
        )


def _random_lam(config: Mapping[str, Any], built: nn.Module) -> Iterator[str]:
    """A LAM beside something else, whose stage leaves a place for where it comes from, and nobody filled it."""
    load = config["stage"].get("load") or {}
    lam = _module(built, "lam")
    if "lam" not in load or lam is None or (size := _parameters(lam)) < LARGE:
        return
    places = load["lam"] if isinstance(load["lam"], Mapping) else {"": load["lam"]}
    for name, value in places.items():
        if value is None:
            key = f"stage.load.lam.{name}".rstrip(".")
            yield (
                f"{key}=null: a latent action model of {count(size)} parameters would start from random numbers beside "
                f"a policy that is to learn from it. Give {key}=RUN (of its own stage), or insist: insist=[random_lam]"
            )


def _slow(applied: AppliedStage, *, on_cpu: bool, precision: str) -> Iterator[str]:
    size = sum(p.numel() for p in applied.learning.values())
    if on_cpu and precision == "fp32" and size > LARGE_ON_CPU:
        yield (
            f"{count(size)} parameters would learn on a processor in float32, with {16 * size / 2**30:.0f} GiB for "
            "them, their gradients and moments alone. Give runtime=one_gpu or runtime=ddp, or insist: insist=[cpu]"
        )


def _left_null(config: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(config, Mapping):
        return
    for key, value in config.items():
        if key in _WEIGHT_KEYS and value is None and path:
            yield path, key
        else:
            yield from _left_null(value, f"{path}.{key}" if path else str(key))


def _module(built: nn.Module, path: str) -> nn.Module | None:
    found: Any = built
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, nn.Module) else None


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
