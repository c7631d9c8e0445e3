"""What one training step of a configuration needs: parameters, memory, FLOPs; traced on the meta device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lara.config.build import build
from lara.data.example import example_batch, without_lam_frames
from lara.inspect.peak import step_timeline
from lara.train.stage import apply_stage
from lara.types import Batch

TRACED = 8  # samples in the traced batch; everything per sample is linear in it


@dataclass(frozen=True, kw_only=True)
class PartRow:
    name: str
    kind: str
    parameters: int
    learning: int


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """flops: of one optimiser step; estimated: whether a part of them is an estimate (see `_untraced_flops`).
    memory: bytes by purpose, for one device holding everything. samples: per step.
    peak: bytes at the fullest moment of a step (see inspect.peak): less than the sum of `memory` where gradients come
    while activations go, more where an operation needs much for itself. None where the step cannot be traced.
    """

    stage: str
    steps: int
    samples: int
    weights: dict[str, float | None]
    parts: list[PartRow]
    shapes: dict[str, str]
    tap: str | None
    memory: dict[str, int]
    peak: int | None
    flops: int
    estimated: bool


def measure(config: dict[str, Any]) -> Footprint:
    """config: a resolved conf/train.yaml. Raises what building and the stage raise (ConfigError, missing extras)."""
    stage, runtime, optim = (build(config[key], "run") for key in ("stage", "runtime", "optim"))
    with torch.device("meta"):
        system = build(config["system"], "model").to(
            "meta"
        )  # some libraries make their constants on the CPU all the same
    stage = stage.for_system(system)
    applied = apply_stage(system, stage)
    learning = applied.learning
    learns = {id(p) for p in learning.values()}
    parts = [
        PartRow(
            name=name,
            kind=type(part).__name__,
            parameters=sum(p.numel() for p in part.parameters()),
            learning=sum(p.numel() for p in part.parameters() if id(p) in learns),
        )
        for name, part in system.parts().items()
    ]
    batch = example_batch(config["data"], TRACED)
    flops, saved = _trace(system, batch, stage.weights_at(0))
    estimated = _untraced_flops(system, batch)
    micro, samples = runtime.batch_size, runtime.batch_size * runtime.accumulate
    half = runtime.precision == "bf16"
    learned_bytes = sum(p.numel() * p.element_size() for p in learning.values())
    memory = {
        "parameters and buffers": sum(t.numel() * t.element_size() for t in (*system.parameters(), *system.buffers())),
        "gradients": learned_bytes,
        "optimiser (two moments)": 2 * sum(4 * p.numel() for p in learning.values()),
        "moving average": learned_bytes if optim.ema_decay is not None else 0,
        f"activations of {micro} samples": saved * micro // TRACED // (2 if half else 1),
    }
    resident = sum(memory[k] for k in ("parameters and buffers", "optimiser (two moments)", "moving average"))
    moving = _peak(system, example_batch(config["data"], micro), stage.weights_at(0))
    if moving is not None and half:
        moving = (moving + learned_bytes) // 2  # activations in two bytes; gradients, where they are there, in four
    return Footprint(
        stage=stage.name,
        steps=stage.steps,
        samples=samples,
        weights={name: weight.at(0) for name, weight in stage.weights.items()},
        parts=parts,
        shapes=_shapes(batch, micro),
        tap=system.tapped,
        memory=memory,
        peak=None if moving is None else resident + max(moving, learned_bytes),
        flops=(flops + estimated) * samples // TRACED,
        estimated=bool(estimated),
    )


def without_lam(config: dict[str, Any]) -> dict[str, Any] | None:
    """The same policy trained by its action term alone; None where there is no policy beside a LAM."""
    system = config["system"]
    if not all(system.get(side) for side in ("policy", "lam", "coupling")):
        return None
    return {
        **config,
        "system": {**system, "lam": None, "coupling": None},
        "stage": {**config["stage"], "learn": ["policy"], "weights": {"action": 1.0}, "load": {}},
        "optim": {**config["optim"], "lr_scale": {}},
        "data": without_lam_frames(config["data"]),
    }


def _trace(system: nn.Module, batch: Batch, weights: dict[str, float]) -> tuple[int, int]:
    """FLOPs of forward and backward, bytes kept for the backward pass."""
    kept: dict[int, int] = {}
    fixed = {t.untyped_storage()._cdata for t in (*system.parameters(), *system.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in fixed:
            kept[storage._cdata] = max(kept.get(storage._cdata, 0), storage.nbytes())
        held.append(storage)  # keeps the address from being given to another tensor
        return tensor

    held: list[Any] = []
    # eval mode: a quantiser's bookkeeping depends on values, which a meta tensor does not have; the FLOPs are the same
    system.eval()
    if batch.observation.images_BVCHW.shape[1] and _runs_on_meta(system):
        batch = _images_to_meta(batch)
    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        losses = system(batch, frozenset(weights))
        total = sum(weights[k] * losses.terms[k] for k in weights)
        total.backward()
    return counter.get_total_flops(), sum(kept.values())


def _peak(system: nn.Module, batch: Batch, weights: dict[str, float]) -> int | None:
    """Most bytes alive at once in a step, beyond what is always there; None where it cannot be traced."""
    if not _runs_on_meta(system):
        return None
    if batch.observation.images_BVCHW.shape[1]:
        batch = _images_to_meta(batch)
    return max(step_timeline(system, batch, weights))


def _untraced_flops(system: nn.Module, batch: Batch) -> int:
    """2 x parameters x tokens for the forward pass of each Hugging Face model (a policy's backbone, a latent action
    model's former), three times that where it learns.

    These models cannot be traced without values. The rule leaves out attention's quadratic part and counts embedding
    tables, which do no multiplication: right within some tens of percent, and said to be an estimate.
    """
    flops = 0
    if not _runs_on_meta(system):
        backbone = _backbone(system)
        flops += _passes(backbone) * backbone(batch.observation).x.shape[:2].numel()
    former: Any = getattr(getattr(system, "lam", None), "former", None)
    if hasattr(former, "processor"):
        # every sample of the example is alike, and a clip of large frames is slow to process
        frames = torch.zeros(1, *batch.frames_BFVCHW.shape[1:2], *batch.frames_BFVCHW.shape[3:], dtype=torch.uint8)
        inputs: Any = former.process(frames, batch.observation.instruction[:1])
        flops += _passes(former) * inputs["input_ids"].numel() * len(batch)
    return flops


def _passes(model: Any) -> int:
    """FLOPs per token of forward, and backward where anything learns."""
    parameters = sum(p.numel() for p in model.parameters())
    flops: int = 2 * parameters * (3 if any(p.requires_grad for p in model.parameters()) else 1)
    return flops


def _runs_on_meta(system: nn.Module) -> bool:
    """Whether the policy's backbone takes pixels as they are; one with a processor of its own reads them on the CPU."""
    return not hasattr(_backbone(system), "processor")


def _backbone(system: nn.Module) -> Any:
    """The policy's backbone; where a system has only that (a student), itself; None without a policy."""
    policy = getattr(system, "policy", None)
    return getattr(policy, "backbone", policy)


def _images_to_meta(batch: Batch) -> Batch:
    images = batch.observation.images_BVCHW.to("meta")
    return replace(batch, observation=replace(batch.observation, images_BVCHW=images))


def _shapes(batch: Batch, n: int) -> dict[str, str]:
    tensors = {
        "images_BVCHW (uint8)": batch.observation.images_BVCHW,
        "state_BS": batch.observation.state_BS,
        "frames_BFVCHW (uint8)": batch.frames_BFVCHW,
        "actions_BHA, in and out": batch.actions_BHA,
    }
    return {name: str((n, *tensor.shape[1:])) for name, tensor in tensors.items()}
