"""Demonstrations in HDF5 files as LIBERO and robomimic write them. Files are data: nothing pickled, no links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lara.data.episode import Episode
from lara.errors import ConfigError, DataError, missing_extra
from lara.store.plain import parse_json

Images = Literal["rotate", "flip", "keep"]

MOST = 1 << 32  # bytes of one array; a small file can promise any size
STATES = (  # which observations are the state, in order, where nobody says: the first that are all there
    ("ee_states", "gripper_states"),
    ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"),
)
PARTS = {  # names of the numbers of well-known observations
    "ee_states": ("x", "y", "z", "rx", "ry", "rz"),
    "gripper_states": ("finger_1", "finger_2"),
    "robot0_eef_pos": ("x", "y", "z"),
    "robot0_eef_quat": ("qx", "qy", "qz", "qw"),
    "robot0_gripper_qpos": ("finger_1", "finger_2"),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What one file holds, and how it is read.

    Attributes:
        path: the file.
        demos: names of its demonstrations in order of their numbers.
        task: the instruction.
        libero: whether LIBERO wrote it.
        fps: control steps per second; None where the file does not say.
        cameras: camera -> its observation.
        state: observations that make the state.
        state_names: of all of them.
        action_dim: numbers of an action.
    """

    path: Path
    demos: tuple[str, ...]
    task: str
    libero: bool
    fps: float | None
    cameras: Mapping[str, str]
    state: tuple[str, ...]
    state_names: tuple[str, ...]
    action_dim: int


def layout_of(path: Path, *, task: str | None, state: Sequence[str] | None) -> Layout:
    """Reads attributes and shapes, no arrays.

    Args:
        path: an HDF5 file.
        task: the instruction; the file's own where None.
        state: names of observations; those of `STATES` where None.

    Raises:
        DataError: not a file of this layout.
        ConfigError: there is no instruction, or no observation of such a name.
        MissingExtraError: h5py is not installed.
    """
    with _opened(path) as file:
        data = _group(path, file, "data")
        demos = sorted((name for name in data if name.startswith("demo_")), key=_number)
        if not demos:
            raise DataError(f"{path}: expected data/demo_0, data/demo_1, ...; found {sorted(data)[:5]}")
        problem, environment = (_record(path, data, name) for name in ("problem_info", "env_args"))
        observations = _group(path, _group(path, data, demos[0]), "obs")
        cameras = {}
        for name in sorted(observations):
            shape, dtype = _described(path, observations, name)
            if dtype == np.uint8 and len(shape) == 4 and shape[3] == 3:
                cameras[name.removesuffix("_rgb").removesuffix("_image")] = name
        chosen = tuple(state) if state is not None else _usual_state(path, observations)
        names: list[str] = []
        for key in chosen:
            if key not in observations:
                raise ConfigError(f"{path}: has no observation '{key}'; it has {', '.join(sorted(observations))}")
            shape, _ = _described(path, observations, key)
            count = int(np.prod(shape[1:]))
            known = PARTS.get(key, ())
            names += known if len(known) == count else [f"{key}_{k}" for k in range(count)]
        actions, _ = _described(path, _group(path, data, demos[0]), "actions")
        return Layout(
            path=path,
            demos=tuple(demos),
            task=_instruction(path, task, problem),
            libero=bool(problem),
            fps=_rate(environment),
            cameras=cameras,
            state=chosen,
            state_names=tuple(names),
            action_dim=int(actions[1]) if len(actions) == 2 else 0,
        )


def read_demo(layout: Layout, demo: str, *, images: Images) -> Episode:
    """One demonstration.

    Args:
        layout: of its file.
        demo: its name.
        images: "rotate" by 180 degrees, "flip" upside down, or "keep" as stored.

    Raises:
        DataError: an array is missing, too large, or of another length than the actions.
    """
    with _opened(layout.path) as file:
        group = _group(layout.path, _group(layout.path, file, "data"), demo)
        observations = _group(layout.path, group, "obs")
        actions = _array(layout.path, group, "actions")
        if actions.ndim != 2 or actions.shape[1] != layout.action_dim:
            raise DataError(f"{layout.path}: {demo}: expected actions (T, {layout.action_dim}), found {actions.shape}")
        parts = [_array(layout.path, observations, key) for key in layout.state]
        if any(len(part) != len(actions) for part in parts):
            raise DataError(f"{layout.path}: {demo}: {len(actions)} actions, but states {[len(p) for p in parts]}")
        pictures = {c: _turned(_array(layout.path, observations, key), images) for c, key in layout.cameras.items()}
    state = [part.reshape(len(actions), -1).astype(np.float32) for part in parts]
    try:
        return Episode(
            images=pictures,
            state=np.concatenate([np.zeros((len(actions), 0), np.float32), *state], axis=1),
            actions=actions.astype(np.float32),
            task=layout.task,
            info={"file": layout.path.name, "demo": demo},
        )
    except DataError as error:
        raise DataError(f"{layout.path}: {demo}: {error}") from error


def _turned(images: np.ndarray, how: Images) -> np.ndarray:
    if how == "keep":
        return images
    return np.ascontiguousarray(images[:, ::-1, ::-1] if how == "rotate" else images[:, ::-1])


def _usual_state(path: Path, observations: Any) -> tuple[str, ...]:
    for names in STATES:
        if all(name in observations for name in names):
            return names
    raise ConfigError(
        f"{path}: nothing says which observations are the state; give state=[...] of {', '.join(sorted(observations))}"
    )


def _instruction(path: Path, given: str | None, problem: Mapping[str, Any]) -> str:
    found = given if given is not None else problem.get("language_instruction")
    if isinstance(found, list):  # some files hold its words, or one string in a list
        found = " ".join(map(str, found))
    if not isinstance(found, str) or not found.strip():
        raise ConfigError(f"{path}: holds no instruction; say it with task='pick up the cube'")
    return found.strip().strip('"')


def _rate(environment: Mapping[str, Any]) -> float | None:
    own = environment.get("env_kwargs")
    rate = own.get("control_freq") if isinstance(own, dict) else None
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def _number(demo: str) -> tuple[int, str]:
    digits = demo.removeprefix("demo_")
    return (int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 10**9, demo)


def _record(path: Path, group: Any, name: str) -> dict[str, Any]:
    """A JSON attribute; {} where there is none."""
    if name not in group.attrs:
        return {}
    text = group.attrs[name]
    text = text.encode() if isinstance(text, str) else text
    if not isinstance(text, bytes):
        raise DataError(f"{path}: the attribute {name} should be text, found {type(text).__name__}")
    found = parse_json(text, path, DataError)
    return found if isinstance(found, dict) else {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise missing_extra("h5py", "hdf5", "Reading HDF5 demonstrations") from error
    if not path.is_file():
        raise DataError(f"{path}: expected an HDF5 file, found nothing")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(
            f"{path}: not a readable HDF5 file ({error}); it is damaged or cut short, copy it again"
        ) from error


def _inside(path: Path, group: Any, name: str) -> Any:
    """A member that lies in this very file: a link could show a file of this machine as data."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        raise DataError(f"{path}: {group.name} has no '{name}'")
    if not isinstance(link, h5py.HardLink):
        raise DataError(f"{path}: {group.name}/{name} is a link, which is not followed; copy what it points to")
    return group[name]


def _group(path: Path, group: Any, name: str) -> Any:
    import h5py

    found = _inside(path, group, name)
    if not isinstance(found, h5py.Group):
        raise DataError(f"{path}: {group.name}/{name} should be a group of arrays")
    return found


def _described(path: Path, group: Any, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array of plain numbers that is in the file itself and of a bounded size."""
    import h5py

    found = _inside(path, group, name)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "iufb" or found.shape is None:
        raise DataError(f"{path}: {group.name}/{name} should be an array of numbers")
    if found.is_virtual or found.external:
        raise DataError(f"{path}: {group.name}/{name} lies in another file, which is not followed")
    if int(np.prod([float(n) for n in found.shape])) * found.dtype.itemsize > MOST:
        raise DataError(f"{path}: {group.name}/{name} says that it is {found.shape}, more than {MOST} bytes")
    return tuple(found.shape), found.dtype


def _array(path: Path, group: Any, name: str) -> np.ndarray:
    _described(path, group, name)
    array: np.ndarray = group[name][()]
    return array
