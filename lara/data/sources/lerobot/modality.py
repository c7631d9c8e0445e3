"""meta/modality.json, GR00T's addition to a LeRobotDataset: names for stretches of its vectors, cameras and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lara.data.sources.lerobot import paths
from lara.errors import DataError
from lara.store.records import read_json

FILE = "meta/modality.json"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The numbers begin ... end - 1 of a column.

    Attributes:
        name: "left_arm". column: the column that holds it.
        rotation: the form of its orientation in GR00T's words; None: it has none.
        absolute: whether its numbers are targets rather than changes; None: not said.
        dtype: as it was recorded, for what it is worth: numbers are read as float32.
    """

    name: str
    column: str
    begin: int
    end: int
    rotation: str | None = None
    absolute: bool | None = None
    dtype: str | None = None


@dataclass(frozen=True, kw_only=True)
class Modality:
    """What the file says. cameras: new name -> feature. annotations: name -> column of task numbers."""

    action: tuple[Slice, ...]
    state: tuple[Slice, ...]
    cameras: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def read_modality(root: Path) -> Modality | None:
    """None where a dataset has no such file. Raises DataError for one that says something else than it should."""
    path = root / FILE
    if not path.exists():
        return None
    data = read_json(path, DataError)
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected one JSON object, got {type(data).__name__}")
    return Modality(
        action=_slices(path, data, "action", paths.ACTION),
        state=_slices(path, data, "state", paths.STATE),
        cameras={name: _key(path, about, "video", name, name) for name, about in _group(path, data, "video").items()},
        annotations={
            name: _key(path, about, "annotation", name, f"annotation.{name}")
            for name, about in _group(path, data, "annotation").items()
        },
    )


def _group(path: Path, data: Mapping[str, Any], name: str) -> dict[str, Any]:
    group = data.get(name) or {}
    if not isinstance(group, dict) or not all(about is None or isinstance(about, dict) for about in group.values()):
        raise DataError(f"{path}: '{name}' should hold one object per name")
    return group


def _key(path: Path, about: Mapping[str, Any] | None, group: str, name: str, default: str) -> str:
    key = (about or {}).get("original_key")
    if key is not None and not isinstance(key, str):
        raise DataError(f"{path}: {group}.{name}.original_key should be the name of a column, got {key!r}")
    return default if key is None else key


def _slices(path: Path, data: Mapping[str, Any], group: str, column: str) -> tuple[Slice, ...]:
    found = []
    for name, about in _group(path, data, group).items():
        about = about or {}
        begin, end = about.get("start"), about.get("end")
        if type(begin) is not int or type(end) is not int or not 0 <= begin < end:
            raise DataError(f"{path}: {group}.{name} needs whole numbers 0 <= start < end, got {begin!r} and {end!r}")
        rotation, absolute, dtype = about.get("rotation_type"), about.get("absolute"), about.get("dtype")
        if not (isinstance(rotation, str | None) and isinstance(absolute, bool | None)):
            raise DataError(
                f"{path}: {group}.{name}: rotation_type is a word and absolute true or false; got {rotation!r} and "
                f"{absolute!r}"
            )
        found.append(
            Slice(
                name=name,
                column=_key(path, about, group, name, column),
                begin=begin,
                end=end,
                rotation=rotation,
                absolute=absolute,
                dtype=None if dtype is None else str(dtype),
            )
        )
    return tuple(found)
