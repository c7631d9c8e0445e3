"""The files of a released latent motion tokenizer as plain data; foreign names are compared, never imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lara.errors import CheckpointError
from lara.lam.moto_yaml import parse_yaml
from lara.store.plain import parse_json, read_plain, require_plain

# the classes that a config may name
_KNOWN = {
    "LatentMotionTokenizer",
    "ViTMAEModel.from_pretrained",
    "MFormer",
    "VectorQuantizer2",
    "LatentMotionDecoder",
    "ViTConfig",
}
_LARGEST_SIZE = 16384
_LARGEST_CONFIG = 2**16


def read_config(path: Path) -> dict[str, Any]:
    """{"m_former", "vector_quantizer", "decoder"} of either layout, as plain data that was checked."""
    found = [path / name for name in ("config.yaml", "config.yml", "config.json") if (path / name).is_file()]
    if not found:
        raise CheckpointError(f"{path}: expected a folder with config.yaml or config.json; found neither")
    text = read_plain(found[0], CheckpointError, limit=_LARGEST_CONFIG)
    raw = parse_json(text, found[0], CheckpointError) if found[0].suffix == ".json" else parse_yaml(text, found[0])
    if not isinstance(raw, Mapping):
        raise CheckpointError(f"{found[0]}: expected a mapping, got {type(raw).__name__}")
    _require_known_classes(raw, str(found[0]))
    names = ("m_former", "vector_quantizer", "decoder")
    sections = {name: raw.get(name, raw.get(f"{name}_config")) for name in names}
    absent = [name for name, section in sections.items() if not isinstance(section, Mapping)]
    if absent:
        raise CheckpointError(f"{found[0]}: no section {' and no '.join(absent)}; is it a latent motion tokenizer?")
    # M-Former and decoder keep a ViTConfig one level down; what stands beside it are options of the class
    flat = {name: {**section, **_inner(section, str(found[0]))} for name, section in sections.items()}
    _require_options(flat, raw, str(found[0]))
    return flat


def _inner(section: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    inner = section.get("config", {})
    if not isinstance(inner, Mapping):
        raise CheckpointError(f"{path}: expected a section's config to be a mapping, got {type(inner).__name__}")
    return inner


def _require_known_classes(config: Any, path: str, depth: int = 0) -> None:
    if depth > 20:
        raise CheckpointError(f"{path}: nested deeper than any configuration of this kind")
    if isinstance(config, Mapping):
        target = config.get("_target_")
        if target is not None and not any(f".{target}".endswith(f".{name}") for name in _KNOWN):
            raise CheckpointError(
                f"{path}: _target_ {target!r} is none of the classes of a latent motion tokenizer "
                f"({', '.join(sorted(_KNOWN))}); nothing was imported"
            )
    values = config.values() if isinstance(config, Mapping) else config if isinstance(config, list) else ()
    for value in values:
        _require_known_classes(value, path, depth + 1)


def _require_options(flat: Mapping[str, Mapping[str, Any]], raw: Mapping[str, Any], path: str) -> None:
    """Options that would make another function of the same weights."""
    wanted: list[tuple[str, str, Any]] = [
        (name, key, value)
        for name in ("m_former", "decoder")
        for key, value in (("hidden_act", "gelu"), ("qkv_bias", True))
    ]
    wanted += [("decoder", "query_fusion_mode", "add"), ("decoder", "use_mask_token", False)]
    wanted += [("decoder", "num_channels", 3), ("vector_quantizer", "remap", None)]
    wrong = [f"{name}.{key}={flat[name][key]!r}" for name, key, value in wanted if flat[name].get(key, value) != value]
    former, decoder = flat["m_former"], flat["decoder"]
    for key in ("hidden_size", "query_num"):
        if size(former, key) != size(decoder, key):
            wrong.append(f"m_former.{key}={former[key]} beside decoder.{key}={decoder[key]}")
    if size(decoder, "encoder_stride") != size(decoder, "patch_size"):
        wrong.append(f"encoder_stride={decoder['encoder_stride']} beside patch_size={decoder['patch_size']}")
    wrong += [f"{key}={raw[key]!r}" for key in ("use_optical_flow",) if raw.get(key)]
    if wrong:
        raise CheckpointError(f"{path}: this reader knows the released architecture only; it cannot do {wrong}")


def size(section: Mapping[str, Any], key: str) -> int:
    """A positive whole number of a sane magnitude. Raises CheckpointError."""
    value = section.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST_SIZE:
        raise CheckpointError(f"expected {key} to be a whole number in [1, {_LARGEST_SIZE}], got {value!r}")
    return value


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tokenizer's tensors by name; safetensors where there are any, else a .bin read without running pickles."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, Any] = {}
    safe = sorted(path.glob("*.safetensors"))
    binary = sorted(p for p in path.glob("*.bin") if p.name.startswith("pytorch_model"))
    if not safe and not binary:
        raise CheckpointError(f"{path}: expected *.safetensors or pytorch_model*.bin beside the config; found neither")
    for file in safe or binary:
        require_plain(file, CheckpointError)
        try:
            tensors |= load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
        except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, AttributeError, KeyError) as error:
            raise CheckpointError(f"{file}: expected named tensors, got {type(error).__name__}: {error}") from error
        except Exception as error:  # torch refuses a pickle that would call something with its own exception class
            raise CheckpointError(f"{file} was refused: it holds more than tensors ({type(error).__name__})") from error
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()):
        raise CheckpointError(f"{path}: expected a flat dictionary of tensors; convert it to safetensors first")
    marker = "m_former.embeddings.latent_motion_token"
    homes = [name.removesuffix(marker) for name in tensors if name.endswith(marker)]
    if len(homes) != 1:
        raise CheckpointError(f"{path}: expected one tensor named ...{marker}, found {len(homes)}")
    inside = {name.removeprefix(homes[0]): t.float() for name, t in tensors.items() if name.startswith(homes[0])}
    # frozen, stock or training-only modules; none of them takes part in z, codes or pixels
    unused = ("image_encoder.", "loss_fn_lpips.", "hidden_state_decoder.", "m_former.pooler.")
    return {name: tensor for name, tensor in inside.items() if not name.startswith(unused)}
