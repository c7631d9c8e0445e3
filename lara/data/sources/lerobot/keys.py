"""Which columns of a LeRobotDataset are the action, the state, the cameras and the instruction.

Most datasets call them `action`, `observation.state`, `observation.images.*` and `task_index`; GR00T's name stretches
of them in meta/modality.json; for all others a person says it (`KeyMap`). What nobody says is asked for: a dataset
whose actions are called otherwise is never taken for one without actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lara.data.sources.lerobot import paths
from lara.data.sources.lerobot.features import is_camera, is_vector, names_of, unique, width
from lara.data.sources.lerobot.modality import Modality, Slice
from lara.errors import ConfigError, DataError, nearest

TASK = "task_index"


@dataclass(frozen=True, kw_only=True)
class KeyMap:
    """What a person says about the columns (`data.format.keys`). None: as it is usually called.

    Attributes:
        action, state: columns, or stretches that meta/modality.json names ("action.left_arm"), joined in this order;
            () for a dataset that has none, or whose numbers are not wanted.
        cameras: name in lara -> feature of the dataset; others are then left out.
        task: the column whose number says a frame's instruction.
    """

    action: tuple[str, ...] | None = None
    state: tuple[str, ...] | None = None
    cameras: Mapping[str, str] | None = None
    task: str | None = None

    @classmethod
    def of(cls, said: KeyMap | Mapping[str, Any] | None) -> KeyMap:
        """From a configuration. Raises ConfigError for other keys, and for values that are no names."""
        if isinstance(said, KeyMap) or said is None:
            return said or cls()
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(said) - known)
        if unknown:
            raise ConfigError(f"data.format.keys has no '{unknown[0]}'. {nearest(unknown[0], known)}")
        vectors = {name: _names(name, said.get(name)) for name in ("action", "state")}
        cameras, task = said.get("cameras"), said.get("task")
        if not (
            cameras is None or (isinstance(cameras, Mapping) and all(isinstance(v, str) for v in cameras.values()))
        ):
            raise ConfigError(f"data.format.keys.cameras is a map from names to features, got {cameras!r}")
        if not isinstance(task, str | None):
            raise ConfigError(f"data.format.keys.task is the name of a column, got {task!r}")
        return cls(**vectors, cameras=None if cameras is None else dict(cameras), task=task)


def _names(what: str, given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"data.format.keys.{what} is a column or a list of columns, got {given!r}")
    return names


@dataclass(frozen=True, kw_only=True)
class Part:
    """The numbers begin ... end - 1 of a column of `width`."""

    column: str
    width: int
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A + or S numbers, joined from parts of columns.

    Attributes:
        names: one per number. slices: what meta/modality.json says of its parts. unnamed: columns without names.
    """

    parts: tuple[Part, ...] = ()
    names: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()
    unnamed: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, int]:
        """Column -> its width."""
        return {part.column: part.width for part in self.parts}


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The columns in use. cameras: name -> feature. task: the column of task numbers."""

    action: Vector
    state: Vector
    cameras: Mapping[str, str] = field(default_factory=dict)
    task: str = TASK


def resolve(
    root: Path,
    features: Mapping[str, Mapping[str, Any]],
    *,
    said: KeyMap,
    modality: Modality | None,
    ours: Sequence[str] = (),
) -> Keys:
    """The columns that these features, this modality.json and this person mean.

    ours: prefixes of columns that lara itself added (labels), which nobody has to account for.

    Raises:
        DataError: a column stands under another name than usual; the message has the override to type.
        ConfigError: the person names what is not there.
    """
    path = root / paths.INFO
    vectors = {
        key: f for key, f in features.items() if is_vector(key, f) and not key.startswith(tuple(f"{p}." for p in ours))
    }
    action, state = (
        _vector(path, features, name, default, keys, modality)
        for name, default, keys in (("action", paths.ACTION, said.action), ("state", paths.STATE, said.state))
    )
    _require_roles(
        path, features, [k for k in vectors if k not in {**action.columns, **state.columns}], action, state, said
    )
    return Keys(
        action=action,
        state=state,
        cameras=_cameras(path, features, said.cameras, modality),
        task=_task(path, features, said.task, modality),
    )


def unsliced(keys: Keys) -> list[str]:
    """Stretches of columns that meta/modality.json gives no name, so that nobody reads them: "action 3..5"."""
    found = []
    for vector in (keys.action, keys.state):
        for column, wide in vector.columns.items() if vector.slices else ():
            free = set(range(wide))
            for part in vector.parts:
                free -= set(range(part.begin, part.end)) if part.column == column else set()
            found += [f"{column} {', '.join(map(str, sorted(free)))}"] if free else []
    return found


def _require_roles(
    path: Path,
    features: Mapping[str, Mapping[str, Any]],
    rest: list[str],
    action: Vector,
    state: Vector,
    said: KeyMap,
) -> None:
    """rest: columns of numbers without a role. Raises DataError when one of them may be the action or the state."""

    def seen(key: str) -> bool:
        return key.startswith("observation.") or any(word in key.lower() for word in ("state", "qpos", "proprio"))

    asked = {}
    if said.action is None and not action.parts:
        asked["action"] = [key for key in rest if not seen(key)]
    if said.state is None and not state.parts:
        asked["state"] = [key for key in rest if seen(key)]
    asked = {name: maybe for name, maybe in asked.items() if maybe}
    if not asked:
        return
    usual = {"action": paths.ACTION, "state": paths.STATE}
    columns = ", ".join(f"'{key}' ({width(features[key])} numbers)" for key in rest)
    overrides = []
    for name, maybe in asked.items():
        likely = [key for key in maybe if name in key.lower()] or maybe
        overrides.append(f"data.format.keys.{name}=[{','.join(likely)}]")
    raise DataError(
        f"{path}: there is no column {' and none '.join(repr(usual[name]) for name in asked)}, and these columns have "
        f"no role: {columns}. Say what they are (several are joined in order, [] is for none): {' '.join(overrides)}"
    )


def _vector(
    path: Path,
    features: Mapping[str, Mapping[str, Any]],
    name: str,
    usual: str,
    keys: tuple[str, ...] | None,
    modality: Modality | None,
) -> Vector:
    slices = () if modality is None else getattr(modality, name)
    if keys is None and slices:
        return _joined(path, features, list(slices))
    if keys is None:
        keys = (usual,) if usual in features else ()
    by_name = {f"{name}.{one.name}": one for one in slices}
    choices = [key for key, f in features.items() if is_vector(key, f)]
    pieces: list[str | Slice] = []
    for key in keys:
        if key in choices:
            pieces.append(key)
        elif key in by_name:
            pieces.append(by_name[key])
        else:
            raise ConfigError(
                f"{path}: data.format.keys.{name} names '{key}', which is no column of numbers. "
                f"{nearest(key, [*choices, *by_name])}"
            )
    return _joined(path, features, pieces)


def _joined(path: Path, features: Mapping[str, Mapping[str, Any]], pieces: Sequence[str | Slice]) -> Vector:
    parts, names, unnamed = [], [], []
    for piece in pieces:
        if isinstance(piece, Slice):
            if piece.column not in features:
                raise DataError(
                    f"{path}: meta/modality.json says '{piece.name}' is in the column '{piece.column}', which is not "
                    f"there. {nearest(piece.column, list(features))}"
                )
            wide = width(features[piece.column])
            if piece.end > wide:
                raise DataError(
                    f"{path}: meta/modality.json gives '{piece.name}' the numbers {piece.begin}..{piece.end - 1} of "
                    f"'{piece.column}', which has {wide}"
                )
            parts.append(Part(column=piece.column, width=wide, begin=piece.begin, end=piece.end))
            names += [f"{piece.name}.{i}" for i in range(piece.end - piece.begin)]
            continue
        wide = width(features[piece])
        stem = piece if len(pieces) > 1 else {paths.ACTION: "action", paths.STATE: "state"}.get(piece, piece)
        own, said = names_of(features[piece], stem)
        if not said:
            unnamed.append(piece)
        parts.append(Part(column=piece, width=wide, begin=0, end=wide))
        names += own
    slices = tuple(piece for piece in pieces if isinstance(piece, Slice))
    return Vector(parts=tuple(parts), names=unique(names), slices=slices, unnamed=tuple(unnamed))


def _cameras(
    path: Path,
    features: Mapping[str, Mapping[str, Any]],
    said: Mapping[str, str] | None,
    modality: Modality | None,
) -> dict[str, str]:
    known = {key: f for key, f in features.items() if is_camera(f)}
    if said is not None:
        for name, key in said.items():
            if key not in known:
                raise ConfigError(
                    f"{path}: data.format.keys.cameras.{name} is '{key}', which is no camera. {nearest(key, known)}"
                )
        return dict(said)
    renamed = {} if modality is None else modality.cameras
    for name, key in renamed.items():
        if key not in known:
            raise DataError(
                f"{path}: meta/modality.json says camera '{name}' is '{key}', which is not there. {nearest(key, known)}"
            )
    new = {key: name for name, key in reversed(list(renamed.items()))}
    cameras: dict[str, str] = {}
    for key in known:
        name = new.get(key, paths.camera_name(key))
        if name in cameras:
            raise DataError(
                f"{path}: '{cameras[name]}' and '{key}' would both be the camera '{name}'; name them with "
                f"data.format.keys.cameras={{{name}: {cameras[name]}, another: {key}}}"
            )
        cameras[name] = key
    return cameras


def _task(path: Path, features: Mapping[str, Mapping[str, Any]], said: str | None, modality: Modality | None) -> str:
    if said is not None:
        if said not in features:
            raise ConfigError(f"{path}: data.format.keys.task is '{said}'. {nearest(said, list(features))}")
        return said
    words = {} if modality is None else modality.annotations
    for name, column in words.items():
        if "task_description" in name and column in features:
            return column
    return TASK
