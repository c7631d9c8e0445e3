"""A stage says by name what learns, how much each loss term weighs, and for how many steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from lara.errors import ConfigError, nearest
from lara.systems.system import System
from lara.train.parts import as_module, part_of_parameters, select

Schedule = Literal["constant", "linear", "stop"]


@dataclass(frozen=True)
class Weight:
    """The factor of one loss term over time.

    value:    the factor at step 0; None: the term is switched off and not computed. 0.0: it is computed and logged.
    schedule: "constant"; "linear" falls to 0 at step `steps` (and goes on being computed and logged);
              "stop" is constant before step `steps`, and from there on the term is not computed.
    """

    value: float | None
    schedule: Schedule = "constant"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "linear", "stop"):
            raise ConfigError(f"a weight's schedule is constant|linear|stop, got {self.schedule!r}")
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool) and math.isfinite(self.value)
        if self.value is not None and not number:
            raise ConfigError(f"a weight's value is a finite number or null, got {self.value!r}")
        if (self.steps is None) != (self.schedule == "constant") or (self.steps is not None and self.steps < 1):
            raise ConfigError(
                "a weight's steps are a positive number for the schedules linear and stop, and absent for constant; "
                f"got schedule={self.schedule!r}, steps={self.steps!r}"
            )

    def at(self, step: int) -> float | None:
        """The factor for the update after `step` updates; None means: do not compute the term."""
        if self.value is None or self.steps is None:
            return self.value
        if self.schedule == "linear":
            return self.value * max(0.0, 1.0 - step / self.steps)
        return self.value if step < self.steps else None


@runtime_checkable
class BringsWeights(Protocol):
    """A part with terms of its own, which says how much each weighs beside the others of its side."""

    def default_weights(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training.

    name:    for logs and folders.
    learn:   parts, or prefixes of parts, that learn; all others are frozen AND in eval mode.
    weights: term -> factor. Keys must equal the system's terms() (None for a term it does not have is allowed).
             A number, None, a `Weight`, or a mapping with Weight's keys; other mappings are joined with a dot
             ({"lam": {"commitment": 0.25}} is "lam.commitment").
             The name of a part that brings default weights (a latent space: "lam.space") weighs all of that part's
             terms, as many as it has, at that multiple of its defaults; a term named by itself stands above that.
    steps:   optimiser updates in all.
    load:    part prefix -> checkpoint (a step folder or a run folder) to start those parts from; None entries are
             skipped, so that a configuration can leave the place open. Nested like the weights:
             {"lam": {"former": path}} is "lam.former".
    """

    buildable: ClassVar[str] = "run"

    name: str
    learn: tuple[str, ...]
    weights: Mapping[str, Any]
    steps: int
    load: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.learn, str):
            raise ConfigError(
                f"stage.learn is a list of parts, got the single word {self.learn!r}; write [{self.learn}]"
            )
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ConfigError(f"stage.steps is a positive integer, got {self.steps!r}")
        object.__setattr__(self, "learn", tuple(self.learn))
        object.__setattr__(self, "weights", _flatten(self.weights))
        object.__setattr__(self, "load", {k: str(v) for k, v in _dotted(self.load).items() if v is not None})
        if not self.weights_at(self.steps - 1):
            raise ConfigError(
                f"stage '{self.name}': no term has a weight up to its last step; nothing would be learned"
            )

    def weights_at(self, step: int) -> dict[str, float]:
        """The factors of the terms that are computed at this step."""
        factors = {name: weight.at(step) for name, weight in self.weights.items()}
        return {name: value for name, value in factors.items() if value is not None}

    def for_system(self, system: System) -> Stage:
        """The same stage with the weights of parts spelt out as those of the parts' terms.

        Raises ConfigError for a weighed part that brings no default weights.
        """
        weights = dict(self.weights)
        for name, part in system.parts().items():
            factor = weights.pop(name, None)
            if factor is None:
                continue
            if not isinstance(part, BringsWeights):
                raise ConfigError(
                    f"stage '{self.name}' weighs the part '{name}', but {type(part).__name__} brings no weights of "
                    "its own (default_weights); weigh its terms by name"
                )
            side = name.rpartition(".")[0]
            for term, default in part.default_weights().items():
                value = None if factor.value is None else factor.value * default
                weights.setdefault(f"{side}.{term}", replace(factor, value=value))
        return replace(self, weights=weights)

    def skips_terms(self, terms: Iterable[str]) -> bool:
        """Whether one of these terms is not computed at some step, so that parameters may stay without a gradient."""
        return any(
            self.weights[t].value is None or self.weights[t].schedule == "stop" for t in terms if t in self.weights
        )


_WEIGHT_KEYS = {"value", "schedule", "steps"}


def _flatten(weights: Mapping[str, Any], prefix: str = "") -> dict[str, Weight]:
    out: dict[str, Weight] = {}
    for key, value in weights.items():
        name = f"{prefix}{key}"
        if isinstance(value, Weight):
            out[name] = value
        elif isinstance(value, Mapping):
            is_weight = "value" in value and set(value) <= _WEIGHT_KEYS
            out |= {name: Weight(**value)} if is_weight else _flatten(value, f"{name}.")
        else:
            out[name] = Weight(value)
    return out


def _dotted(places: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in places.items():
        out |= _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


@dataclass(frozen=True, kw_only=True)
class AppliedStage:
    """A system with a stage's decisions applied.

    learning:  the parameters that learn, by name, in the system's order.
    part_of:   parameter name -> part name, for all parameters.
    parts:     the parts in `learn` (some of their parameters may be frozen by the part itself).
    frozen_modules: the other parts' modules, and those of learning parts whose every parameter is frozen.
    buffer_places: (name, module, attribute) of learning parts' buffers.
    """

    system: nn.Module
    learning: dict[str, nn.Parameter]
    part_of: dict[str, str]
    parts: tuple[str, ...]
    frozen_modules: tuple[nn.Module, ...]
    buffer_places: tuple[tuple[str, nn.Module, str], ...]

    def train(self) -> None:
        """Training mode for what learns, eval mode for frozen parts (no dropout, no moving statistics)."""
        self.system.train()
        for module in self.frozen_modules:
            module.eval()

    def buffers(self, *, persistent_only: bool = False) -> dict[str, Tensor]:
        """The buffers of learning parts as they are now, by name (a module may have replaced the tensor)."""
        found = {}
        for name, module, attribute in self.buffer_places:
            value = module._buffers[attribute]
            saved = attribute not in module._non_persistent_buffers_set
            if value is not None and (saved or not persistent_only):
                found[name] = value
        return found


def apply_stage(system: System, stage: Stage) -> AppliedStage:
    """Freezes what does not learn, and checks that stage and system mean the same things.

    A parameter learns if its part is in `stage.learn` and it wanted gradients when the system was made (a frozen
    encoder inside a learning part stays frozen). Raises ConfigError for leftover or doubly named parameters, unknown
    parts, other terms than the system's, or nothing to learn.
    """
    module = as_module(system)
    part_of = part_of_parameters(system)
    parts = system.parts()
    learn = select(stage.learn, parts, what="stage.learn")
    _require_same_terms(stage.for_system(system), system)

    # remembered on the system, because an earlier stage may have frozen what this one thaws
    wanted = module.__dict__.setdefault("_wants_gradient", {n: p.requires_grad for n, p in module.named_parameters()})
    learning = {}
    for name, parameter in module.named_parameters():
        learns = part_of[name] in learn and wanted.get(name, True)
        parameter.requires_grad_(learns)
        if not learns:
            parameter.grad = None
        else:
            learning[name] = parameter
    if not learning:
        raise ConfigError(
            f"stage '{stage.name}' learns {list(stage.learn)}, but every parameter there is frozen by its part; "
            f"add one of {', '.join(p for p in parts if p not in learn) or '(there are no other parts)'}"
        )

    inside = {id(m) for part in learn for m in parts[part].modules()}
    applied = AppliedStage(
        system=module,
        learning=learning,
        part_of=part_of,
        parts=learn,
        frozen_modules=tuple(m for part, m in parts.items() if part not in learn or _stands_still(m)),
        buffer_places=tuple(
            (f"{path}.{attribute}" if path else attribute, m, attribute)
            for path, m in module.named_modules()
            if id(m) in inside
            for attribute in m._buffers
        ),
    )
    applied.train()
    return applied


def _stands_still(part: nn.Module) -> bool:
    """Whether a part has parameters, and none of them learns; one with statistics alone (no parameter) does not."""
    flags = [p.requires_grad for p in part.parameters()]
    return bool(flags) and not any(flags)


def _require_same_terms(stage: Stage, system: System) -> None:
    offered = set(system.terms())
    # switching off what does not exist is harmless, and lets one stage serve a LAM with and without LPIPS
    asked = {name for name, weight in stage.weights.items() if weight.value is not None or name in offered}
    if asked == offered:
        return
    unknown = [f"'{name}' ({nearest(name, offered)})" for name in sorted(asked - offered)]
    lines = [f"stage '{stage.name}' must weigh exactly the terms of {type(system).__name__}:"]
    if unknown:
        lines.append(f"  weighed, but not a term: {', '.join(unknown)}")
    if offered - asked:
        lines.append(f"  a term, but not weighed (null switches it off): {', '.join(sorted(offered - asked))}")
    raise ConfigError("\n".join(lines))
