"""A run -> a folder with the policy alone: LoRA merged, statistics inside, no LAM, no projector.

`to` says whose format: lara's ("native"), or that of the package the weights came from, which then needs no lara:

    native    config.json  model.safetensors  card.json  manifest.json                  lara.serve.policy.load_policy
    lerobot   config.json  model.safetensors  policy_{pre,post}processor.json + stats  PreTrainedPolicy.from_pretrained
    openpi    model.safetensors  assets/<robot>/norm_stats.json                        its PyTorch policies
    groot     model.safetensors  statistics, and the base checkpoint's own records     Isaac-GR00T

A policy says what it can become in `exports` (package -> the package's name for it), and gives its weights by
`vendor_state_dict()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lara.data.card import Cards, DataCard
from lara.errors import ConfigError, nearest
from lara.export.groot import write_groot
from lara.export.lerobot import write_lerobot
from lara.export.openpi import write_openpi
from lara.export.origin import origin
from lara.policy.tuning import merge
from lara.serve.load import load_policy_side
from lara.store.checkpoint import Checkpoint
from lara.store.export import Export, fill_export
from lara.store.files import whole_folder
from lara.train.parts import part_paths


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a format is written from. kind: the package's name for the policy. system: with the policy alone. saved: the
    checkpoint. ema: which of its weights. base: folder with the records of the checkpoint it started from, or None."""

    system: Any
    saved: Checkpoint | Export
    ema: bool
    card: DataCard
    kind: str
    base: Path | None

    def weights(self, **settings: Any) -> dict[str, Tensor]:
        """The vendor's keys, each tensor its own contiguous memory on the CPU."""
        tensors = self.system.policy.vendor_state_dict(**settings)
        return {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}


def _native(trained: Trained, folder: Path) -> None:
    saved, policy = trained.saved, trained.system.policy
    plain = {
        k: None if k in ("lam", "objective", "coupling") else v
        for k, v in saved.config["system"].items()
        if k != "tuning"
    }
    card = {
        "format": 1,
        "what": "policy",
        "from": origin(saved, ema=trained.ema),
        "parts": {name: path for name, path in part_paths(trained.system).items() if path.startswith("policy")},
        "parameters": sum(p.numel() for p in policy.parameters()),
        "data": saved.card,
        "versions": saved.versions,
    }
    tensors = {f"policy.{name}": tensor for name, tensor in policy.state_dict().items()}
    config = {"name": saved.config.get("name", saved.name), "system": plain}
    fill_export(folder, tensors=tensors, config=config, card=card)


def _lerobot(trained: Trained, folder: Path) -> None:
    prefix = "_groot_model." if trained.kind == "groot" else "model."
    write_lerobot(folder, kind=trained.kind, weights=_prefixed(trained.weights(), prefix), card=trained.card)


def _openpi(trained: Trained, folder: Path) -> None:
    write_openpi(folder, weights=_prefixed(trained.weights(), ""), card=trained.card)


def _groot(trained: Trained, folder: Path) -> None:
    write_groot(folder, kind=trained.kind, weights=trained.weights(), card=trained.card, base=trained.base)


FORMATS: dict[str, Callable[[Trained, Path], None]] = {
    "native": _native,
    "lerobot": _lerobot,
    "openpi": _openpi,
    "groot": _groot,
}


def export_policy(
    *,
    checkpoint: str | Path,
    to: str,
    output: str | Path,
    ema: bool = True,
    base: str | Path | None = None,
    embodiment: str | None = None,
) -> Path:
    """Writes `output` (whole, or not at all) and returns it.

    checkpoint: a run or one of its checkpoints. ema: the moving average where there is one. base: a folder with the
    checkpoint that the policy started from, for formats that need its records. embodiment: whose statistics and cameras
    the package's files say; None: there is only one.
    Raises ConfigError for a format or a policy that does not fit it, and for an output that exists; CheckpointError for
    a run without a policy.
    """
    if to not in FORMATS:
        raise ConfigError(f"there is no format '{to}'. {nearest(to, FORMATS)}")
    output = Path(output)
    if output.exists():
        raise ConfigError(f"{output} exists already; choose another output, or move it away")
    system, saved = load_policy_side(checkpoint, ema=ema)
    merge(system.policy)
    kinds = {"native": "policy", **getattr(system.policy, "exports", {})}
    if to not in kinds or (to != "native" and not hasattr(system.policy, "vendor_state_dict")):
        raise ConfigError(
            f"{type(system.policy).__name__} has no form in '{to}'; it can become "
            + ", ".join(k for k in FORMATS if k in kinds)
        )
    trained = Trained(
        system=system,
        saved=saved,
        ema=ema,
        card=Cards.from_dict(saved.card).only(embodiment),
        kind=kinds[to],
        base=Path(base) if base is not None else None,
    )
    with whole_folder(output) as temporary:
        FORMATS[to](trained, temporary)
    return output


def _prefixed(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The same tensors with exactly this package's prefix, whichever one the policy wrote."""
    known = ("model.", "_groot_model.")
    bare = {
        name.removeprefix(next((p for p in known if all(n.startswith(p) for n in weights)), "")): value
        for name, value in weights.items()
    }
    return {f"{prefix}{name}": value for name, value in bare.items()}
