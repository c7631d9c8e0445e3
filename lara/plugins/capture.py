"""Reading one hidden state out of a policy that was written without us: a hook that is armed for one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lara.errors import ConfigError, nearest
from lara.ops.masks import last_valid_step, take_step

Point = Literal["output", "input"]
Token = int | Literal["last_valid"] | Callable[[Tensor], Tensor]


class Capture:
    """A hook on the module at path `tap` of `model`, silent unless armed.

    point:    "output": what the module returns; "input": what it is given (a forward_pre_hook, needed where the vendor
              calls a layer's insides by hand and never the layer, as pi0 does in training).
    select:   which of several outputs or positional inputs; a string names a keyword input or a mapping's entry.
    gradient: whether a tensor made under no_grad is refused.

    A module inside non-reentrant checkpointing runs again during the backward pass: the hook is no longer armed then,
    and the first pass's tensor, which carries the gradient, stays. Reentrant checkpointing runs the first pass without
    gradients and is refused.
    """

    def __init__(self, model: nn.Module, tap: str, *, point: Point, select: int | str = 0) -> None:
        if point not in ("output", "input"):
            raise ConfigError(f"point is output|input, got {point!r}")
        self.tap, self.point, self.select = tap, point, select
        self.module = _module(model, tap)
        self._armed = False
        self._wants_gradient = True
        self._found: list[Tensor] = []
        self._handle = (
            self.module.register_forward_hook(self._after)
            if point == "output"
            else self.module.register_forward_pre_hook(self._before, with_kwargs=True)
        )

    def remove(self) -> None:
        """Takes the hook off; the module is as it was."""
        self._handle.remove()

    @contextmanager
    def armed(self, *, gradient: bool) -> Iterator[Capture]:
        """Inside, the next call of the module is kept. Raises ConfigError at the end unless it ran exactly once."""
        self._found.clear()
        self._armed, self._wants_gradient = True, gradient
        try:
            yield self
        except BaseException:
            self._found.clear()
            raise
        finally:
            self._armed = False
        if len(self._found) != 1:
            calls = len(self._found)
            self._found.clear()
            raise ConfigError(
                f"the tap '{self.tap}' ran {calls} times in one forward pass, and must run exactly once. "
                + (
                    "Vendors often call a layer's insides by hand: tap a module that is really called, with "
                    "point='input' for what enters it. A compiled model must be attached before it first runs."
                    if calls == 0
                    else "Tap a module that is not shared between layers."
                )
            )

    def take(self) -> Tensor:
        """The kept tensor, (R * B, T, E); forgotten here afterwards, so that its graph can be freed."""
        return self._found.pop()

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._armed:
            self._keep(output, f"the output of '{self.tap}'")

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._armed:
            value = kwargs if isinstance(self.select, str) else args
            self._keep(value, f"the input of '{self.tap}' (keywords {sorted(kwargs)})")

    def _keep(self, value: Any, what: str) -> None:
        if isinstance(value, tuple | list | Mapping):
            try:
                value = value[self.select]  # type: ignore[index]
            except (IndexError, KeyError, TypeError) as error:
                raise ConfigError(f"{what} has no item {self.select!r}; give select= its place or its name") from error
        if not isinstance(value, Tensor):
            raise ConfigError(f"{what} at {self.select!r} is a {type(value).__name__}, expected a tensor (B, T, E)")
        if self._wants_gradient and not torch.is_grad_enabled():
            raise ConfigError(
                f"the tap '{self.tap}' ran without gradients although the model trains: it lies under torch.no_grad() "
                "or inside reentrant gradient checkpointing, whose first pass keeps no graph. Use use_reentrant=False "
                "(gradient_checkpointing_kwargs={'use_reentrant': False}), tap another module, or align with "
                "stop_gradient='policy'."
            )
        self._found.append(value)


def pick_token(h: Tensor, token: Token, steps_BH: Tensor | None, first_action: int | None) -> Tensor:
    """(R * B, T, E) -> (R * B, E), the token that stands for the action chunk.

    token: an index, a function of h, or "last_valid": the last action step that is real in steps_BH (B, H), which the
    R tiles of the batch share. first_action: the place of action step 0 among the T tokens; None: the last H tokens.
    Raises ConfigError when the sequence is too short, or the mask is missing.
    """
    if callable(token):
        return token(h)
    if h.ndim != 3:
        raise ConfigError(
            f"expected hidden states (B, tokens, width) at the tap, got {tuple(h.shape)}; give a function"
        )
    if not isinstance(token, str):
        return h[:, token]
    if token != "last_valid":
        raise ConfigError(f"token is an index, a function or 'last_valid'; got {token!r}")
    if steps_BH is None:
        raise ConfigError(
            "token='last_valid' needs Frames(steps=...): which action steps are real, (B, H) or (B, H, A)"
        )
    tokens, horizon = h.shape[1], steps_BH.shape[1]
    first = tokens - horizon if first_action is None else first_action
    if first < 0 or first + horizon > tokens:
        raise ConfigError(
            f"{horizon} action steps from token {first} on do not fit the tap's {tokens} tokens; give first_action, "
            "the place of action step 0"
        )
    return take_step(h, first + last_valid_step(steps_BH).repeat(tiles(len(h), len(steps_BH))))


def tiles(rows: int, samples: int) -> int:
    """R: how often a policy repeated its batch (several noise draws per sample, tiled as by `.repeat(R, ...)`)."""
    if samples == 0 or rows % samples:
        raise ConfigError(
            f"the tap has {rows} rows, which is no multiple of the {samples} samples that were given frames"
        )
    return rows // samples


def _module(model: nn.Module, tap: str) -> nn.Module:
    try:
        return model.get_submodule(tap)
    except AttributeError as error:
        names = [name for name, _ in model.named_modules() if name]
        raise ConfigError(f"{type(model).__name__} has no module '{tap}'. {nearest(tap, names)}") from error
