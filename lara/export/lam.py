"""The latent action model of a run, cut out: encoder, former, latent space, decoder, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lara.errors import StoreError
from lara.export.origin import origin
from lara.serve.load import lam_facts, load_lam
from lara.store.export import fill_export
from lara.store.files import whole_folder


# of the run's data card: which frames the model was trained on
def export_lam(checkpoint: str | Path, output: Path, *, ema: bool = True) -> Path:
    """Writes a LAM in the format of `lara.store.export`.

    Args:
        checkpoint: a run, a checkpoint, or another exported folder.
        output: must not exist.
        ema: the moving average of the weights, where the run kept one.

    Returns:
        `output`.

    Raises:
        CheckpointError: there is no LAM.
        StoreError: `output` exists, or the file system refused.
    """
    if output.exists():
        raise StoreError(f"{output} exists already; move it away, or choose another output folder")
    lam, saved = load_lam(checkpoint, ema=ema)
    settings = _without_downloads(saved.config["system"]["lam"])
    coder = lam.space.coder()
    config = {
        "name": saved.config.get("name", saved.name),
        "system": {"_target_": "lara.systems.lam.LamSystem", "lam": settings},
    }
    if "data" in saved.config:
        config["data"] = saved.config["data"]
    card = {
        "format": 1,
        "what": "lam",
        "from": origin(saved, ema=ema),
        "latent": {
            "queries": lam.queries,
            "dim": lam.space.dim,
            "space": type(lam.space).__name__,
            "codes": None if coder is None else coder.codes,
        },
        "parts": {f"lam.{name}": f"lam.{name}" for name in lam.parts()},
        "parameters": sum(p.numel() for p in lam.parameters()),
        "data": lam_facts(saved),
        "versions": saved.versions,
    }
    with whole_folder(output) as folder:
        tensors = {f"lam.{name}": tensor for name, tensor in lam.state_dict().items()}
        fill_export(folder, tensors=tensors, config=config, card=card)
    return output


def _without_downloads(lam: Mapping[str, Any]) -> dict[str, Any]:
    """The same model, whose pretrained pieces are filled from the exported file instead of being fetched first."""
    out = dict(lam)
    for part, key in (("encoder", "weights"), ("perceptual", "backbone_weights")):
        if isinstance(out.get(part), Mapping) and key in out[part]:
            out[part] = {**out[part], key: "random"}
    return out
