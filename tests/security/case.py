"""What a hostile folder is, and the ways to change one thing of a sound one."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

from tests.security.sound import SYSTEM, World, sign


@dataclass(frozen=True)
class Case:
    """make: changes a sound world. doors: the ways in that are tried, each alone. harmless: it may load."""

    kind: str
    name: str
    make: Callable[[World], None]
    doors: tuple[Callable[[World], None], ...]
    before: str
    harmless: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "_")


def config(change: Callable[[dict, World], None]) -> Callable[[World], None]:
    """Changes the run's config.json, its `system` first of all."""

    def make(world: World) -> None:
        config = {"name": "sound", "system": deepcopy(SYSTEM), "data": {"root": "x"}, "embodiments": {"dot": 0}}
        change(config, world)
        (world.step / "config.json").write_text(json.dumps(config))
        sign(world.step)

    return make


def at(path: str, value: Callable[[World], object]) -> Callable[[World], None]:
    """One value of the system's configuration, by its dotted place."""

    def change(config: dict, world: World) -> None:
        *way, last = path.split(".")
        here = config["system"]
        for name in way:
            here = here[name]
        here[last] = value(world)

    return config(change)


def text(path: str, text: str) -> Callable[[World], None]:
    return at(path, lambda w: text.replace("CANARY", str(w.canary)))


def record(name: str, content: str | bytes) -> Callable[[World], None]:
    """One file of the checkpoint, with a manifest that fits."""

    def make(world: World) -> None:
        (world.step / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        if name != "manifest.json":
            sign(world.step)

    return make


def swap(place: Callable[[World], object], make_it: Callable[[str, World], None], *, signed: bool = False):
    """A file replaced by something that is none."""

    def make(world: World) -> None:
        path = str(place(world))
        if os.path.lexists(path):
            os.unlink(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make_it(path, world)
        if signed:
            sign(world.step)

    return make


def fifo(path: str, world: World) -> None:
    os.mkfifo(path)


def zeros(path: str, world: World) -> None:
    os.symlink("/dev/zero", path)


def secret(path: str, world: World) -> None:
    os.symlink(world.secret, path)


def moto(content: str | bytes, name: str = "config.yaml") -> Callable[[World], None]:
    def make(world: World) -> None:
        (world.root / "moto").mkdir()
        (world.root / "moto" / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def file(place: str, content: str | bytes) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.parent == world.evaluation:
            sign(world.evaluation, kind="evaluation")
        if path.parent.name == "lam":
            sign(path.parent, kind="export")

    return make


# the writer of files, by the name that it had when it was a target
WRITE = "lara.train.safe_files.write_synced"
CREATE = "${oc.create:{_target_: os.mkdir, path: CANARY}}"
DEEP = "[" * 200_000 + "]" * 200_000
DIGITS = '{"step": ' + "9" * 1_000_000 + "}"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
TAG = "m_former: !!python/object/apply:os.mkdir [CANARY]\n"


class Gadget:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def pickled(place: Callable[[World], object], *, signed: bool = False):
    return swap(place, lambda path, w: write(path, pickle.dumps(Gadget(str(w.canary)))), signed=signed)


def write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def safetensors(header: bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data
