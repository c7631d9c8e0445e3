"""AdamW with warm-up and cosine, per-part learning rates, clipping; everything a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.train.parts import longest_prefix, select
from lara.train.stage import AppliedStage, Stage


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW (Loshchilov & Hutter 2019) and its schedule.

    lr:            the peak, reached after warm-up.
    lr_scale:      part prefix -> factor of `lr`, e.g. {"lam": 0.5}; the most specific prefix wins.
    lr_delay:      part prefix -> steps for which that part stays as it is (rate 0); its own warm-up begins after them,
                   and then it follows the schedule. X-VLA's and RotVLA's expert warm-up is {"policy.backbone": 5000}.
    schedule:      after warm-up "cosine" falls to lr * lr_min_ratio at the schedule's last step; "constant" stays.
    schedule_steps: how long the schedule is; None: as long as the stage. Steps beyond it stay at its end. A run that is
                   given more steps than it was planned with has to say this (see train.resume).
    warmup_steps, warmup_ratio: linear warm-up over so many steps, or that share of the schedule; at most one of them.
    weight_decay:  not applied to 1-d parameters, embeddings, and parameters with an attribute `no_weight_decay`.
    clip_norm:     largest global gradient norm; None does not clip (the norm is computed and checked all the same).
    ema_decay:     moving average of what learns (see train.ema); None keeps none.
    """

    buildable: ClassVar[str] = "run"

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 1e-5
    schedule: Literal["cosine", "constant"] = "cosine"
    schedule_steps: int | None = None
    warmup_steps: int = 0
    warmup_ratio: float = 0.0
    lr_min_ratio: float = 0.0
    lr_scale: Mapping[str, float] = field(default_factory=dict)
    lr_delay: Mapping[str, int] = field(default_factory=dict)
    clip_norm: float | None = 1.0
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "lr_scale", dict(self.lr_scale))
        object.__setattr__(self, "lr_delay", dict(self.lr_delay))
        checks: list[tuple[bool, str, Any]] = [
            (self.lr > 0, "lr is positive", self.lr),
            (
                len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
                "betas are two numbers in [0, 1)",
                self.betas,
            ),
            (self.eps > 0, "eps is positive", self.eps),
            (self.weight_decay >= 0, "weight_decay is not negative", self.weight_decay),
            (self.schedule in ("cosine", "constant"), "schedule is cosine|constant", self.schedule),
            (
                self.schedule_steps is None
                or (
                    isinstance(self.schedule_steps, int)
                    and not isinstance(self.schedule_steps, bool)
                    and self.schedule_steps > 0
                ),
                "schedule_steps is a positive integer or null",
                self.schedule_steps,
            ),
            (self.warmup_steps >= 0, "warmup_steps is not negative", self.warmup_steps),
            (0 <= self.warmup_ratio < 1, "warmup_ratio lies in [0, 1)", self.warmup_ratio),
            (
                not (self.warmup_steps and self.warmup_ratio),
                "warmup_steps or warmup_ratio, not both",
                self.warmup_ratio,
            ),
            (0 <= self.lr_min_ratio <= 1, "lr_min_ratio lies in [0, 1]", self.lr_min_ratio),
            (all(v > 0 for v in self.lr_scale.values()), "every lr_scale is positive", self.lr_scale),
            (
                all(isinstance(v, int) and v > 0 for v in self.lr_delay.values()),
                "every lr_delay is a positive number of steps",
                self.lr_delay,
            ),
            (self.clip_norm is None or self.clip_norm > 0, "clip_norm is positive or null", self.clip_norm),
            (self.ema_decay is None or 0 < self.ema_decay < 1, "ema_decay lies in (0, 1) or is null", self.ema_decay),
        ]
        for fine, expected, got in checks:
            if not fine:
                raise ConfigError(f"optim: {expected}; got {got!r}")


def schedule_length(config: OptimConfig, stage: Stage) -> int:
    """Steps over which the learning rate's schedule is stretched."""
    return stage.steps if config.schedule_steps is None else config.schedule_steps


def lr_factor(config: OptimConfig, step: int, total: int, *, delay: int = 0) -> float:
    """lr(step) / lr for the update after `step` updates of `total`: up to 1, then down to lr_min_ratio.

    delay: 0 for so many steps; after them the warm-up, from where the undelayed rate then is.
    """
    warmup = config.warmup_steps or round(config.warmup_ratio * total)
    if delay:
        ramp = min(1.0, (step - delay + 1) / max(1, warmup)) if step >= delay else 0.0
        return ramp * lr_factor(config, step, total)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
    return config.lr_min_ratio + (1 - config.lr_min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimizer(applied: AppliedStage, config: OptimConfig) -> torch.optim.AdamW:
    """One group per (lr_scale or lr_delay prefix, decay or not), named "lam" or "lam, no decay"; together what learns.

    Always the fused kernel: it is the fast one on GPU and CPU, and the only one that can skip an update on the device
    (`found_inf`). Raises ConfigError when lr_scale or lr_delay names no part, or a device has no fused kernel.
    """
    parts = sorted(set(applied.part_of.values()))
    select(config.lr_scale, parts, what="optim.lr_scale")
    select(config.lr_delay, parts, what="optim.lr_delay")
    devices = {p.device.type for p in applied.learning.values()}
    if not devices <= {"cpu", "cuda"}:
        raise ConfigError(f"the fused AdamW runs on cpu and cuda; the system lies on {sorted(devices)}")
    embeddings = {
        id(p) for m in applied.system.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) for p in m.parameters()
    }
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in applied.learning.items():
        scaled, delayed = (longest_prefix(m, applied.part_of[name]) for m in (config.lr_scale, config.lr_delay))
        scale = 1.0 if scaled is None else float(config.lr_scale[scaled])
        delay = 0 if delayed is None else config.lr_delay[delayed]
        prefix = max((p for p in (scaled, delayed) if p is not None), key=len, default=None)
        plain = parameter.ndim <= 1 or id(parameter) in embeddings or getattr(parameter, "no_weight_decay", False)
        group = (prefix or "main") + (", no decay" if plain else "")
        decay = 0.0 if plain else config.weight_decay
        fixed = {"name": group, "scale": scale, "delay": delay, "weight_decay": decay}
        entry = groups.setdefault(group, {**fixed, "params": [], "names": []})
        entry["params"].append(parameter)
        entry["names"].append(name)
    return torch.optim.AdamW(
        list(groups.values()), lr=config.lr, betas=config.betas, eps=config.eps, fused=True, foreach=False
    )


def set_lr(optimizer: torch.optim.Optimizer, config: OptimConfig, step: int, total: int) -> dict[str, float]:
    """Sets every group's learning rate for this step; returns them by group name."""
    for group in optimizer.param_groups:
        group["lr"] = config.lr * group["scale"] * lr_factor(config, step, total, delay=group["delay"])
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def total_norm(parameters: Mapping[str, nn.Parameter], device: torch.device) -> Tensor:
    """The gradient's global 2-norm, () float32 on the device. No host sync."""
    grads = [p.grad for p in parameters.values() if p.grad is not None]
    norm = nn.utils.get_total_norm(grads, foreach=True) if grads else torch.zeros(())
    return norm.to(device, torch.float32)


def part_norms(applied: AppliedStage, device: torch.device) -> dict[str, Tensor]:
    """Part -> 2-norm of its gradient, () on the device; for log steps."""
    by_part: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in applied.learning.items():
        by_part.setdefault(applied.part_of[name], {})[name] = parameter
    return {part: total_norm(parameters, device) for part, parameters in by_part.items()}


def clip(parameters: Mapping[str, nn.Parameter], norm: Tensor, limit: float) -> None:
    """Scales all gradients by min(1, limit / norm), in place. No host sync."""
    nn.utils.clip_grads_with_norm_(list(parameters.values()), limit, norm, foreach=True)
