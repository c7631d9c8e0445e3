"""Whether a configured value is of the type that its reader expects, said before anything is built from it.

Two sources say what is expected: a root file of conf/ by its own values (`episodes: 30` is a whole number, `x: 0.1` any
number), and the annotations of whatever a `_target_` names. Types that neither can tell are left to the constructor.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from lara.config.overrides import key_of, shown
from lara.errors import ConfigError

# root values that may be null, and what they are otherwise: null itself does not tell
OPTIONAL: dict[str, Any] = {
    "demo.camera": str,
    "demo.minutes": float,
    "label.output": str,
    "label.label.camera": str,
    "label.label.gap": int,
    "label.label.address": str,
    "lams.minutes": float,
    "policies.interventions": dict,
    "policies.minutes": float,
    "policies.reference": str,
    "probe.data_of": str,
    "probe.root": str,
    "probe.stride": int,
    "train.inherit": str,
}
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
_LISTS = (list, tuple, set, frozenset, Sequence)


def require_types(root: Path, config: Any, overrides: Sequence[str] = ()) -> None:
    """Raises ConfigError for the first value of a root configuration (conf/<name>.yaml) that is of the wrong type.

    Args:
        root: the file whose own values say what is expected.
        config: the composed DictConfig; values that are interpolations are skipped.
        overrides: of the command line; a key that stands there is named before another at fault.
    """
    import yaml
    from omegaconf import OmegaConf

    expected = {k: v for k, v in yaml.safe_load(root.read_text()).items() if k != "defaults"}
    plain: Any = OmegaConf.to_container(config, resolve=False)
    faults = dict(_faults(root.stem, expected, plain))
    typed = [key for key in map(key_of, overrides) if key in faults]
    for key in [*typed, *faults]:
        raise ConfigError(faults[key])


def require_arguments(target: Any, arguments: Mapping[str, Any], where: str = "") -> None:
    """Raises ConfigError for the first argument that does not fit the annotation of the class or function it is for."""
    hints = _hints(target)
    for key, value in arguments.items():
        if key in hints and _is_plain(value) and not _fits(value, hints[key]):
            name = f"{where}.{key}" if where else key
            raise ConfigError(
                f"{name} (of {target.__name__}) is {_described(hints[key])}, got {_shown(value)}"
                + _advice(name, value, hints[key])
            )


def _is_plain(value: Any) -> bool:
    """Data as YAML has it; objects that were built, or that a caller hands over, are their readers' to judge."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return "_target_" not in value and all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | int | float | str)


def _faults(path: str, expected: Mapping[str, Any], config: Mapping[str, Any]) -> typing.Iterator[tuple[str, str]]:
    """(key, message) for each value that is not what the root file's own value promises."""
    for name, default in expected.items():
        place, value = f"{path}.{name}", config.get(name, default)
        key = place.partition(".")[2]
        pointer = isinstance(value, str) and ("${" in value or value == "???")
        if name not in config or pointer or (isinstance(default, str) and default.startswith("${")):
            continue
        hint = _hint_of(place, default)
        if not _fits(value, hint):
            yield key, f"{key} is {_described(hint)}, got {_shown(value)}{_advice(key, value, hint)}"
        elif isinstance(default, int) and default >= 0 and isinstance(value, int) and not 0 <= value < 2**63:
            yield key, f"{key} is a whole number of at least 0, got {value}"
        elif isinstance(default, Mapping) and isinstance(value, Mapping) and "_target_" not in default:
            yield from _faults(place, default, value)


def _hint_of(place: str, default: Any) -> Any:
    """The annotation that a default value stands for: 30 -> int, [a] -> list[str], ??? -> str."""
    if place in OPTIONAL:
        return OPTIONAL[place] | None
    if default is None:
        raise AssertionError(f"conf/: {place} is null; add its type to lara.config.value_types.OPTIONAL")
    if isinstance(default, list):
        kinds = {type(v) for v in default}
        return list[kinds.pop()] if len(kinds) == 1 and kinds <= {int, float, str} else list  # type: ignore[misc]
    return dict if isinstance(default, Mapping) else type(default)


def _hints(target: Any) -> dict[str, Any]:
    # only the annotations of __init__ are read: that a subclass may take other arguments (mypy's [misc]) does no harm
    own = target if dataclasses.is_dataclass(target) or not isinstance(target, type) else target.__init__  # type: ignore[misc]
    try:
        return typing.get_type_hints(own)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers alone
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of plain data (as YAML has it) fits an annotation; True for annotations not of plain data."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inside)
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if hint is str or hint is Path:
        return isinstance(value, str | Path)
    kind = origin or hint
    if kind in _LISTS:
        elements = inside[:1] if inside[1:] in ((), (...,)) else ()
        if isinstance(value, Mapping):  # a constructor that keeps pairs may take them as a mapping
            return bool(elements) and get_origin(elements[0]) is tuple
        return isinstance(value, list | tuple) and all(_fits(v, one) for one in elements for v in value)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    return True


def _described(hint: Any) -> str:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_described(one) for one in inside))
    if origin is Literal:
        return "one of " + "|".join(str(one) for one in inside)
    if hint is None or hint is type(None):
        return "null"
    if (origin or hint) in _LISTS:
        of = f" of {_plural(inside[0])}" if inside and inside[0] in _WORDS else ""
        return f"a list{of}"
    if (origin or hint) in (dict, Mapping):
        return "a mapping"
    return "text" if hint is Path else _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _plural(kind: type) -> str:
    return {int: "whole numbers", float: "numbers", str: "text"}.get(kind, kind.__name__)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{_WORDS.get(type(value), type(value).__name__)}: {value!r}"


def _advice(key: str, value: Any, hint: Any) -> str:
    """How to write what was probably meant, with the quotes that a shell needs."""
    kinds = {get_origin(one) or one for one in (get_args(hint) if get_origin(hint) else (hint,))} | {get_origin(hint)}
    if isinstance(value, str) and kinds & set(_LISTS):
        return f"; write {shown(key, value.strip('[] ').split(','))}"
    if isinstance(value, float) and value.is_integer() and int in kinds:
        return f"; write {key}={int(value)}"
    if isinstance(value, bool | int | float) and str in kinds:
        return f"; for these characters as text write \"{key}='{str(value).lower()}'\""
    if isinstance(value, list) and str in kinds:
        return f"; for these characters as text write \"{key}='[{','.join(map(str, value))}]'\""
    return ""
