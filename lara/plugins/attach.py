"""LARA for any torch policy (003, section 5.3): attach a latent action model to a layer, train, detach.

    model = lara.attach(policy, lam, tap="blocks.10")
    loss = model(*whatever_the_policy_takes, lara=lara.Frames(frames, steps=mask))    # its loss, and ours in it
    policy = model.detach()                                                           # as if it had never been wrapped

Everything is computed inside the wrapped forward, so that DDP and FSDP, which hook into it, see one pass of one module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lara.errors import ConfigError
from lara.lam.model import LatentActionModel
from lara.losses.alignment import RawCosine
from lara.plugins.capture import Capture, Point, Token, pick_token, tiles
from lara.systems.couplings.alignment import Alignment

PAPER_WEIGHT = 0.01  # w_1 = w_2 of 003, Eq. 7
COMMITMENT = 0.25  # of the VQ term inside the LAM's own loss


class Frames(NamedTuple):
    """What the latent action model sees of B samples, beside what the policy sees.

    frames: (B, 2, 3, h, w) uint8, now and after the chunk. steps: (B, H) or (B, H, A) bool, which actions are real.
    real:   (B,) bool, whether the later frame exists; None: it always does.
    """

    frames: Tensor
    steps: Tensor | None = None
    real: Tensor | None = None


def attach(
    model: nn.Module,
    lam: LatentActionModel,
    *,
    tap: str,
    point: Point = "output",
    select: int | str = 0,
    token: Token = "last_valid",
    first_action: int | None = None,
    width: int | None = None,
    projector: int | nn.Module = 1,
    objective: Callable[..., nn.Module] = RawCosine,
    weights: Mapping[str, float] | None = None,
    add: Callable[[Any, Tensor], Any] | None = None,
    **alignment: Any,
) -> Attached:
    """The policy with a LAM beside it. Nothing of the policy is copied or replaced.

    tap:       path of a module of `model` ("action_head.model.transformer_blocks.13"); point, select: see `Capture`.
    token, first_action: see `pick_token`; the default is each sample's last REAL action step.
    width:     of the hidden state; read off a Linear or a norm, to be given for other modules.
    projector: layers of the MLP f (1 = the release's single Linear), or f itself, (n, width) -> (n, Q * D).
    objective: see losses.alignment. alignment: further settings of `systems.couplings.alignment.Alignment` (pool,
               stop_gradient, floor, target, ...).
    weights:   term -> factor, of all terms that shall be computed; default 0.01 for each (the commitment 0.0025).
    add:       (the policy's output, our weighted sum) -> the output to return. The default adds to a scalar, to the
               entry or attribute "loss", or to the first of a tuple.
    Raises ConfigError for a tap, a term or a width that does not exist.
    """
    capture = Capture(model, tap, point=point, select=select)
    try:
        return Attached(
            model,
            lam,
            capture=capture,
            token=token,
            first_action=first_action,
            width=width or _width(capture),
            projector=projector,
            objective=objective,
            weights=weights,
            add=add or add_to_loss,
            alignment=alignment,
        )
    except BaseException:
        capture.remove()
        raise


class Attached(nn.Module):
    """Made by `attach`. Submodules: policy, lam, align. After a training forward, `terms` and `metrics` hold detached
    scalars for the log. In eval mode it is the policy and nothing else."""

    def __init__(
        self,
        model: nn.Module,
        lam: LatentActionModel,
        *,
        capture: Capture,
        token: Token,
        first_action: int | None,
        width: int,
        projector: int | nn.Module,
        objective: Callable[..., nn.Module],
        weights: Mapping[str, float] | None,
        add: Callable[[Any, Tensor], Any],
        alignment: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.policy, self.lam = model, lam
        self._capture, self._token, self._first_action, self._add = capture, token, first_action, add
        layers = projector if isinstance(projector, int) else 1
        with torch.random.fork_rng(devices=[]):  # the policy's own random stream stays where it was
            self.align = Alignment(objective=objective, projector_layers=layers, **alignment)
            self.align.connect(width, lam)
        if isinstance(projector, nn.Module):
            self.align.projector = projector  # type: ignore[assignment]
        offered = (*self.align.align_terms(), *(f"lam.{name}" for name in lam.terms()))
        if weights is None:
            weights = {name: PAPER_WEIGHT * (COMMITMENT if name == "lam.commitment" else 1.0) for name in offered}
        unknown = sorted(set(weights) - set(offered))
        if unknown or not set(weights) & set(self.align.align_terms()):
            raise ConfigError(f"weights name terms among {list(offered)}, 'align' with them; got {sorted(weights)}")
        self.weights = dict(weights)
        self.terms: dict[str, Tensor] = {}
        self.metrics: dict[str, Tensor] = {}
        example = next(model.parameters(), None)
        if example is not None:
            self.lam.to(example.device)
            self.align.to(example.device)

    def forward(self, *args: Any, lara: Frames | None = None, **kwargs: Any) -> Any:
        """What the policy returns; in training with the weighted LARA terms added to its loss.

        lara: the frames of this batch; needed in training, not looked at in eval mode. Raises ConfigError without them.
        """
        if not self.training:
            return self.policy(*args, **kwargs)
        if lara is None:
            raise ConfigError("an attached policy trains on frames: call it with lara=Frames(frames, steps=...)")
        with self._capture.armed(gradient=torch.is_grad_enabled() and self.align.stop_gradient != "policy"):
            output = self.policy(*args, **kwargs)
        return self._add(output, self._losses(self._capture.take(), lara))

    def detach(self) -> nn.Module:
        """Takes the hook off and returns the policy: its modules, state dict and outputs as if never attached."""
        self._capture.remove()
        return self.policy

    def after_step(self) -> None:
        """To be called after each optimiser step where the alignment's target is a moving average."""
        self.align.after_step(self.lam)

    def _losses(self, hidden: Tensor, lara: Frames) -> Tensor:
        samples = len(lara.frames)
        steps = lara.steps.flatten(2).any(dim=2) if lara.steps is not None and lara.steps.ndim > 2 else lara.steps
        real = hidden.new_ones(samples, dtype=torch.bool) if lara.real is None else lara.real
        tiles(len(hidden), samples)  # frames for another number of samples are refused here
        h = pick_token(hidden, self._token, steps, self._first_action).to(_dtype(self.align.projector))
        acts = real if steps is None else real & steps.any(dim=1)

        tokens = self.lam.encode_frames(lara.frames)
        latent = self.lam.latent(tokens)
        wanted = frozenset(name.removeprefix("lam.") for name in self.weights if name.startswith("lam."))
        terms: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        if wanted:
            lam = self.lam.losses(lara.frames, tokens, latent, real, wanted)
            terms |= {f"lam.{name}": value for name, value in lam.terms.items()}
            metrics |= {f"lam.{name}": value for name, value in lam.metrics.items()}
        target = self.align.target
        z = latent.z_BQD if target is None else target.latent(self.lam, lara.frames, tokens)
        align = self.align.agree(h, z, acts)
        terms |= {name: value for name, value in align.terms.items() if name in self.weights}
        metrics |= align.metrics
        self.terms = {name: value.detach() for name, value in terms.items()}
        self.metrics = metrics
        return torch.stack([self.weights[name] * terms[name] for name in self.weights]).sum()


def add_to_loss(output: Any, extra: Tensor) -> Any:
    """The policy's output with `extra` added to its scalar loss, wherever that usually is; nothing is changed in place.

    Raises ConfigError for an output without a scalar loss.
    """
    if isinstance(output, Tensor) and output.ndim == 0:
        return output + extra
    if isinstance(output, Mapping) and _scalar(output.get("loss")):
        changed: Any = copy.copy(output)
        changed["loss"] = output["loss"] + extra
        return changed
    if isinstance(output, tuple) and output and _scalar(output[0]):
        rest = (output[0] + extra, *output[1:])
        return output._make(rest) if hasattr(output, "_make") else rest
    raise ConfigError(
        f"the policy returned a {type(output).__name__} without a scalar loss (itself, 'loss', or the first of "
        "a tuple); say how to add ours with attach(..., add=lambda output, extra: ...)"
    )


def _scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0


def _dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters()), torch.float32)


def _width(capture: Capture) -> int:
    module, inside = capture.module, "in_features" if capture.point == "input" else "out_features"
    found = getattr(module, inside, None)
    if found is None:
        shape = getattr(module, "normalized_shape", None) or getattr(getattr(module, "weight", None), "shape", ())
        found = shape[0] if shape is not None and len(shape) == 1 else None
    if not isinstance(found, int):
        raise ConfigError(f"the width of '{capture.tap}' ({type(module).__name__}) is not to be seen; give width=")
    return found
