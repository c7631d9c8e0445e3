"""How much of a pretrained policy may move: all of it, low-rank adapters (LoRA, Hu et al. 2021), or one of its sides.

| preset      | image-text model | action expert |
|---|---|---|
| full        | learns           | learns        |
| lora        | adapters         | adapters      |
| expert_lora | frozen           | adapters      |
| vlm_lora    | adapters         | learns        |
| expert_only | frozen           | learns        |
| vlm_only    | learns           | frozen        |

The image-text model is what `parts()` calls "backbone" (or "backbone_..."), the expert all the rest. Projector and LAM
are no business of this: they learn whole. Adapters are put INTO the modules of the policy by peft, so its parts stay,
a checkpoint holds everything by name (frozen base included: a run can be moved, served and resumed from its folder
alone), and resuming needs nothing of peft itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from lara.errors import ConfigError, missing_extra, nearest

Fate = Literal["learns", "adapters", "frozen"]

PRESETS: dict[str, dict[str, Fate]] = {
    "full": {"vlm": "learns", "expert": "learns"},
    "lora": {"vlm": "adapters", "expert": "adapters"},
    "expert_lora": {"vlm": "frozen", "expert": "adapters"},
    "vlm_lora": {"vlm": "adapters", "expert": "learns"},
    "expert_only": {"vlm": "frozen", "expert": "learns"},
    "vlm_only": {"vlm": "learns", "expert": "frozen"},
}
ADAPTER = "default"  # peft's name for the one adapter


class Tuning:
    """preset: one of PRESETS. rank, alpha, dropout: of LoRA; the update is (alpha / rank) B A, B starts at zero.

    whole: regexes (fullmatch) of parameter names of the policy that learn whole besides, e.g. the state and action MLPs
    of a robot that the checkpoint never saw; those are no linear layers and cannot have adapters.
    """

    buildable: ClassVar[str] = "model"

    def __init__(
        self,
        *,
        preset: str,
        rank: int = 16,
        alpha: float = 32,
        dropout: float = 0.0,
        whole: Sequence[str] = (),
    ) -> None:
        if preset not in PRESETS:
            raise ConfigError(f"tuning.preset '{preset}' does not exist. {nearest(preset, PRESETS)}")
        if rank < 1 or alpha <= 0 or not 0.0 <= dropout < 1.0:
            raise ConfigError(
                f"tuning: rank is at least 1, alpha positive, dropout in [0, 1); got {rank}, {alpha}, {dropout}"
            )
        self.preset, self.rank, self.alpha, self.dropout, self.whole = preset, rank, alpha, dropout, tuple(whole)

    def apply(self, policy: Any) -> None:
        """Freezes and adapts in place. Weights that were loaded stay bit for bit, so does what the policy computes.

        Raises ConfigError for a policy without `lora_regex`, an adapter on what is no nn.Linear, a preset or a `whole`
        that meets nothing, and for adapters inside a backbone that runs without gradients.
        """
        fates = PRESETS[self.preset]
        sides = side_of_parameters(policy)
        wanted = {name: p.requires_grad for name, p in policy.named_parameters()}
        if "adapters" in fates.values():
            self._inject(policy)
        for name, parameter in policy.named_parameters():
            if is_adapter(name):
                parameter.requires_grad_(True)
                # a base in bf16 may stay so: adapters learn in small steps and need the digits
                parameter.data = parameter.data.float()
                continue
            original = plain_name(name)
            whole = any(re.fullmatch(pattern, original) for pattern in self.whole)
            parameter.requires_grad_(whole or (fates[sides[original]] == "learns" and wanted[original]))
        for pattern in self.whole:
            if not any(re.fullmatch(pattern, name) for name in sides):
                raise ConfigError(f"tuning.whole: no parameter of {type(policy).__name__} matches '{pattern}'")

    def _inject(self, policy: nn.Module) -> None:
        names = adapted_modules(policy, self.preset)
        for part, module in policy.parts().items():  # type: ignore[operator]
            inside = {id(m) for m in module.modules()}
            if getattr(module, "frozen", False) and any(id(policy.get_submodule(n)) in inside for n in names):
                raise ConfigError(
                    f"tuning.preset={self.preset} puts adapters into '{part}', which runs without gradients; set "
                    "policy.backbone.frozen=false, or preset=expert_lora"
                )
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise missing_extra("peft", "peft", "LoRA") from error
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            # exact names, because peft would match the end of each name in a list
            target_modules="|".join(re.escape(name) for name in names),
        )
        inject_adapter_in_model(config, policy, adapter_name=ADAPTER)


def lora_targets(lora_regex: Mapping[str, str], preset: str) -> str | None:
    """One regex (fullmatch) of the modules that a preset adapts, from a policy's `lora_regex`; None for no module."""
    if preset not in PRESETS:
        raise ConfigError(f"tuning.preset '{preset}' does not exist. {nearest(preset, PRESETS)}")
    chosen = [f"(?:{lora_regex[side]})" for side, fate in PRESETS[preset].items() if fate == "adapters"]
    return "|".join(chosen) or None


def adapted_modules(policy: Any, preset: str) -> list[str]:
    """Names of the linear layers that a preset adapts. Raises ConfigError when there are none, or other layers."""
    regexes = getattr(policy, "lora_regex", None)
    if not isinstance(regexes, Mapping) or set(regexes) != {"vlm", "expert"}:
        raise ConfigError(f"{type(policy).__name__} does not say where adapters may go (lora_regex of vlm and expert)")
    pattern = lora_targets(regexes, preset)
    found = {n: m for n, m in policy.named_modules() if pattern is not None and re.fullmatch(pattern, n)}
    others = [f"{name} ({type(m).__name__})" for name, m in found.items() if not isinstance(m, nn.Linear)]
    if others:
        raise ConfigError(f"adapters go onto nn.Linear only; the regex also meets {', '.join(others[:3])}")
    if not found:
        raise ConfigError(
            f"tuning.preset={preset}: {type(policy).__name__} has no linear layer that matches {pattern}; choose "
            "another preset (a compact backbone has none)"
        )
    return list(found)


def side_of_parameters(policy: Any) -> dict[str, str]:
    """Parameter name -> "vlm" or "expert"."""
    vlm = {
        id(p)
        for part, module in policy.parts().items()
        if part == "backbone" or part.startswith(("backbone_", "backbone."))
        for p in module.parameters()
    }
    return {name: "vlm" if id(p) in vlm else "expert" for name, p in policy.named_parameters()}


def is_adapter(name: str) -> bool:
    """Whether a parameter's name is one of an adapter."""
    return f".lora_A.{ADAPTER}." in name or f".lora_B.{ADAPTER}." in name


def plain_name(name: str) -> str:
    """The name that a base parameter had before adapters were put around it."""
    return name.replace(".base_layer.", ".")


@torch.no_grad()
def merge(policy: nn.Module) -> int:
    """Adds every adapter to its base weight and takes it away, in place: modules and names of the base model, and what
    the policy computes up to rounding (exactly W + (alpha / rank) B A in the base's dtype). Returns how many."""
    layers = list(_adapted_layers(policy))
    for name, layer in layers:
        parent, _, child = name.rpartition(".")
        layer.merge(safe_merge=True)
        setattr(policy.get_submodule(parent), child, layer.get_base_layer())
    return len(layers)


def _adapted_layers(policy: nn.Module) -> Iterator[tuple[str, Any]]:
    if not any(is_adapter(name) for name, _ in policy.named_parameters()):
        return
    from peft.tuners.lora import LoraLayer

    yield from ((name, m) for name, m in policy.named_modules() if isinstance(m, LoraLayer))
