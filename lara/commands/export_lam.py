"""The latent action model of a run, cut out: encoder, former, latent space, decoder, and nothing else.

lara export lam checkpoint=RUN output=FOLDER [ema=false]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# of the run's data card: which frames the model was trained on
DATA_FACTS = ("frame_gap", "fps", "lam_cameras", "lam_image_size", "image_fit")


def main(arguments: Sequence[str]) -> int:
    from lara.errors import ConfigError

    options = dict(a.split("=", 1) for a in arguments if "=" in a)
    wrong = [a for a in arguments if "=" not in a] + sorted(set(options) - {"checkpoint", "output", "ema"})
    if wrong or not {"checkpoint", "output"} <= set(options) or options.get("ema", "true") not in ("true", "false"):
        raise ConfigError(
            "expected: lara export lam checkpoint=RUN output=FOLDER [ema=true|false]; got "
            f"{' '.join(arguments) or '(nothing)'}"
        )
    folder = export_lam(options["checkpoint"], Path(options["output"]), ema=options.get("ema", "true") == "true")
    print(folder)
    return 0


def export_lam(checkpoint: str | Path, output: Path, *, ema: bool = True) -> Path:
    """Writes the exported folder (see store.export) and returns it.

    checkpoint: a run, a checkpoint, or another exported folder. ema: the moving average of the weights, where the run
    kept one. Raises CheckpointError when there is no LAM, or when `output` exists.
    """
    from lara.serve.load import load_lam
    from lara.store.export import AVERAGE, LAST, write_export
    from lara.store.files import sha256_of

    lam, saved = load_lam(checkpoint, ema=ema)
    settings = _without_downloads(saved.config["system"]["lam"])
    parts = {f"lam.{name}": f"lam.{name}" for name in lam.parts()}
    codes = getattr(lam.space, "codes", None) or getattr(getattr(lam.space, "quantizer", None), "codes", None)
    config = {
        "name": saved.config.get("name", saved.name),
        "system": {"_target_": "lara.systems.lara.Lara", "policy": None, "align": None, "lam": settings},
    }
    if "data" in saved.config:
        config["data"] = saved.config["data"]
    card = {
        "format": 1,
        "what": "lam",
        "from": {
            "run": saved.config.get("name", saved.name),
            "step": saved.step,
            "system": saved.config["system"]["_target_"],
            "weights": AVERAGE if saved.has_ema and ema else LAST,
            "manifest_sha256": sha256_of(saved.path / "manifest.json"),
        },
        "latent": {"queries": lam.queries, "dim": lam.space.dim, "space": type(lam.space).__name__, "codes": codes},
        "parts": parts,
        "parameters": sum(p.numel() for p in lam.parameters()),
        "data": {key: saved.card[key] for key in DATA_FACTS if key in saved.card},
        "versions": saved.versions,
    }
    tensors = {f"lam.{name}": tensor for name, tensor in lam.state_dict().items()}
    return write_export(output, tensors=tensors, config=config, card=card)


def _without_downloads(lam: Mapping[str, Any]) -> dict[str, Any]:
    """The same model, whose pretrained pieces are filled from the exported file instead of being fetched first."""
    out = dict(lam)
    for part, key in (("encoder", "weights"), ("perceptual", "backbone_weights")):
        if isinstance(out.get(part), Mapping) and key in out[part]:
            out[part] = {**out[part], key: "random"}
    return out
