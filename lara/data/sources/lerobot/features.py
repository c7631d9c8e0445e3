"""What `features` of info.json says about one column: its width, its names, the size of its pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lara.data.sources.lerobot import paths
from lara.errors import DataError

_BOOKKEEPING = (*paths.DEFAULT_FEATURES, "next.reward", "next.done", "next.success", "next.truncated")
_CHANNELS = (1, 3, 4)
_NUMBERS = ("float", "int", "uint", "bool", "double")


def check_features(path: Path, features: Any) -> dict[str, dict[str, Any]]:
    """The features if each says what it is. Raises DataError."""
    if not isinstance(features, dict) or not all(
        isinstance(f, dict)
        and isinstance(f.get("dtype"), str)
        and isinstance(f.get("shape"), list)
        and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in f["shape"])
        for f in features.values()
    ):
        raise DataError(f"{path}: every feature needs a dtype and a shape of positive whole numbers")
    return features


def is_camera(feature: Mapping[str, Any]) -> bool:
    return feature["dtype"] in ("video", "image")


def is_depth(feature: Mapping[str, Any]) -> bool:
    """Whether the recorder says that the video holds distances, or more than eight bits of grey: no colours of RGB."""
    for name in ("info", "video_info"):
        about = feature.get(name)
        if isinstance(about, dict):
            flags = [about.get("video.is_depth_map"), about.get("is_depth_map"), feature.get("is_depth_map")]
            if any(flag is True for flag in flags) or str(about.get("video.pix_fmt")).startswith(("gray1", "gray9")):
                return True
    return False


def is_vector(key: str, feature: Mapping[str, Any]) -> bool:
    """Whether the column may hold what a robot did or was: numbers that are not a recorder's own counters."""
    counters = (*_BOOKKEEPING, "index")
    own = key in counters or key.endswith(".index") or key.startswith(("annotation.", "next."))
    return feature["dtype"].startswith(_NUMBERS) and not own


def width(feature: Mapping[str, Any]) -> int:
    """Numbers per row."""
    return math.prod(feature["shape"])


def names_of(feature: Mapping[str, Any], stem: str) -> tuple[tuple[str, ...], bool]:
    """One name per number, and whether they are the file's own.

    Recorders write a list, {"motors": [...]}, {"axes": [...]}, {"x": 0, "y": 1}, lists of lists, or null. What does not
    give one name per number is not used: the numbers are then `stem`_0, `stem`_1, ...
    """
    dim, given = width(feature), feature.get("names")
    if isinstance(given, dict) and given and all(isinstance(v, int) for v in given.values()):
        given = sorted(given, key=given.__getitem__)
    names = [str(name).strip() for name in _leaves(given)]
    if len(names) != dim:
        return tuple(f"{stem}_{i}" for i in range(dim)), False
    return unique(tuple(name or f"{stem}_{i}" for i, name in enumerate(names))), True


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names, later ones of a kind numbered: a, a -> a, a_2."""
    found: list[str] = []
    taken = set(names)
    for name in names:
        fresh, k = name, 1
        while fresh in found:
            k += 1
            fresh = f"{name}_{k}" if f"{name}_{k}" not in taken else fresh
        found.append(fresh)
    return tuple(found)


def _leaves(given: Any) -> list[Any]:
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, list):
        return [leaf for value in given for leaf in _leaves(value)]
    return [] if given is None else [given]


def picture_shape(path: Path, key: str, feature: Mapping[str, Any]) -> tuple[int, int, int]:
    """(h, w, 3) of the decoded pictures, in whichever order the file gives them."""
    shape, names = tuple(feature["shape"]), feature.get("names")
    if len(shape) != 3:
        raise DataError(f"{path}: feature '{key}' is a picture of the shape {shape}, expected three numbers")
    order = [str(name)[:1].lower() for name in names] if isinstance(names, list) else []
    last, first = shape[2] in _CHANNELS, shape[0] in _CHANNELS
    if not (last or first):
        raise DataError(f"{path}: feature '{key}' has the shape {shape}; expected 1, 3 or 4 channels first or last")
    if sorted(order) == ["c", "h", "w"] and shape[order.index("c")] in _CHANNELS:
        return shape[order.index("h")], shape[order.index("w")], 3
    return (shape[0], shape[1], 3) if last else (shape[1], shape[2], 3)
