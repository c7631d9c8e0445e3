"""What exactly was measured: every choice that moves a success rate, frozen and hashed.

Numbers whose protocols have different hashes are not compared (`compare` refuses). The reason for each field is an
observed effect of several points: image size, camera position, time budget, replan rule, goal seed, success rule.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

from lara.errors import ConfigError

SuccessMode = Literal["first", "last"]
RenderProfile = Literal["fast", "reference"]
InstructionRule = Literal["own", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One benchmark protocol. Lists and mappings (from yaml or JSON) become tuples; ConfigError for a bad value.

    Attributes:
        benchmark: its name, as `Benchmark.name` says it.
        tasks: by name, never by number: numberings differ between code bases. None in a preset: those that the policy
            was trained on, filled in by the run before anything is hashed.
        episodes: per task; episode i is the i-th goal (or initial state) of `goal_seed`.
        goal_seed: decides goals and initial states.
        policy_seed: first part of every noise key; shared by the runs of a paired comparison.
        max_steps: environment steps of the policy after settling; an episode that uses them up has failed.
        settle_steps: rest actions before the policy starts.
        success_mode: "first": success at any step ends the episode as a success. "last": run until the time is over or
            the body says done, and ask at the end.
        cameras: offered to the policy, in order.
        image_size: side of the square frames, pixels.
        camera_positions: {camera: (x, y, z)} moved away from the benchmark's own place, metres; {} for untouched.
        render_profile: "reference" is what the field renders; "fast" (no shadows, no multisampling) is not comparable.
        execute: the replan rule: at most this many steps of each chunk are executed before the policy is asked again (a
            policy with a shorter horizon has its whole chunk executed).
        state: the names of the state numbers that the policy gets; says whether object poses are among them.
        instruction: "own", or "wrong": every task is given another task's instruction (rotation): a control.
        versions: {package: version} of what makes the physics and the pixels. Empty in a preset: filled in by the run.
            Given: the run refuses other versions.
    """

    buildable: ClassVar[str] = "run"

    benchmark: str
    tasks: tuple[str, ...] | None
    episodes: int
    goal_seed: int
    policy_seed: int
    max_steps: int
    settle_steps: int
    success_mode: SuccessMode
    cameras: tuple[str, ...]
    image_size: int
    camera_positions: tuple[tuple[str, tuple[float, float, float]], ...]
    render_profile: RenderProfile
    execute: int
    state: tuple[str, ...]
    instruction: InstructionRule
    versions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in ("tasks", "cameras", "state"):
            value = getattr(self, name)
            if name == "tasks" and value is None:
                continue
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise ConfigError(f"protocol.{name} must be a list of names, got {value!r}; write [{value}]")
            object.__setattr__(self, name, tuple(value))
        places = {k: tuple(float(x) for x in v) for k, v in _items(self.camera_positions)}
        object.__setattr__(self, "camera_positions", tuple(sorted(places.items())))
        object.__setattr__(self, "versions", tuple(sorted((k, str(v)) for k, v in _items(self.versions))))
        for name, least in (("episodes", 1), ("max_steps", 1), ("execute", 1), ("image_size", 1), ("settle_steps", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"protocol.{name} must be a whole number of at least {least}, got {value!r}")
        for name in ("goal_seed", "policy_seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
                raise ConfigError(f"protocol.{name} must be a whole number in [0, 2**32), got {value!r}")
        for name, choices in (
            ("success_mode", ("first", "last")),
            ("render_profile", ("fast", "reference")),
            ("instruction", ("own", "wrong")),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"protocol.{name} must be one of {choices}, got {getattr(self, name)!r}")
        if self.tasks is not None and (not self.tasks or len(set(self.tasks)) != len(self.tasks)):
            raise ConfigError(f"protocol.tasks must name at least one task and none twice, got {self.tasks}")
        strangers = [c for c, place in self.camera_positions if c not in self.cameras or len(place) != 3]
        if strangers:
            raise ConfigError(
                f"protocol.camera_positions must give three numbers for cameras among {self.cameras}; "
                f"wrong: {strangers}"
            )

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the sha256 of the canonical JSON form; equal exactly when the protocols are."""
        self.decided_tasks()
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; inverse of `protocol_from_dict`."""
        data = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        data["camera_positions"] = {camera: list(place) for camera, place in self.camera_positions}
        data["versions"] = dict(self.versions)
        return data

    def with_versions(self, versions: Mapping[str, str]) -> Protocol:
        """This protocol with the versions that really run. ConfigError if it asks for others."""
        wanted = dict(self.versions)
        wrong = {k: (v, versions.get(k)) for k, v in wanted.items() if versions.get(k) != v}
        if wrong:
            said = ", ".join(f"{k}: protocol {a}, installed {b}" for k, (a, b) in wrong.items())
            raise ConfigError(
                f"the protocol asks for other package versions ({said}); "
                "install them, or remove protocol.versions and get another hash"
            )
        return replace(self, versions=tuple(versions.items()))

    def decided_tasks(self) -> tuple[str, ...]:
        """The tasks. Raises ConfigError while they are still those of a policy yet to be named."""
        if self.tasks is None:
            raise ConfigError("protocol.tasks is null, which only a run with a policy can decide; name them")
        return self.tasks

    def work(self) -> list[tuple[str, int]]:
        """Every (task, episode), in order. Fixed before anything runs, so no order of completion can bias a rate."""
        return [(task, episode) for task in self.decided_tasks() for episode in range(self.episodes)]

    def noise_key(self, task: str, episode: int, replan: int) -> tuple[int, int, int, int]:
        """(policy seed, crc32 of the task's name, episode, replan): independent of which other tasks are run."""
        return (self.policy_seed, zlib.crc32(task.encode()), episode, replan)


def protocol_from_dict(data: Mapping[str, Any]) -> Protocol:
    """Inverse of `Protocol.to_dict`. Raises ConfigError for missing or unknown keys."""
    known = {f.name for f in fields(Protocol)}
    missing = known - set(data) - {"versions"}
    unknown = set(data) - known
    if missing or unknown:
        raise ConfigError(f"a protocol lacks the keys {sorted(missing)} and has unknown ones {sorted(unknown)}")
    return Protocol(**data)


def spoken_instructions(protocol: Protocol, own: Mapping[str, str]) -> dict[str, str]:
    """{task: the instruction that the policy hears}, by the protocol's rule.

    "wrong" takes the instruction of the next task of the protocol (cyclically) whose words differ: some tasks share a
    sentence.

    Raises:
        ConfigError: when no task has other words.
    """
    tasks = protocol.decided_tasks()
    if protocol.instruction == "own":
        return {task: own[task] for task in tasks}
    spoken = {}
    for i, task in enumerate(tasks):
        following = tasks[i + 1 :] + tasks[:i]
        others = [own[other] for other in following if own[other] != own[task]]
        if not others:
            raise ConfigError(
                "protocol.instruction = 'wrong' needs two tasks with different instructions; "
                f"{list(tasks)} have only {own[task]!r}"
            )
        spoken[task] = others[0]
    return spoken


def protocol_differences(a: Protocol, b: Protocol) -> list[str]:
    """One line per field that differs: "field: a's value | b's value"."""
    return [
        f"{f.name}: {getattr(a, f.name)!r} | {getattr(b, f.name)!r}"
        for f in fields(Protocol)
        if getattr(a, f.name) != getattr(b, f.name)
    ]


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else [(k, v) for k, v in value]
