"""How many bytes a training step holds at its fullest: storages counted as they come and go, on the meta device or not.

A sum of parameters, gradients, moments and activations says too much (gradients come while activations go) and too
little (what lives for one operation). Following the step tells both.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Inside, `timeline` grows by the number of bytes alive after every operation.

    What was there before is not counted, views count once. On an accelerator the allocator's own rounding comes on top.
    """

    def __init__(self, known: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's mode has no types
        self.timeline: list[int] = []
        self._live = 0
        self._seen: dict[int, Any] = {}
        for tensor in (*known.parameters(), *known.buffers()):
            storage = tensor.untyped_storage()
            self._seen[storage._cdata] = storage  # held, so that its address is not given away

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if hasattr(value, "untyped_storage"):
                self._add(value.untyped_storage())
        self.timeline.append(self._live)
        return out

    def _add(self, storage: Any) -> None:
        place = storage._cdata
        if place in self._seen:
            return
        size = storage.nbytes()
        self._live += size
        self._seen[place] = None
        weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        self._live -= size
        self._seen.pop(place, None)


def step_timeline(
    system: nn.Module, batch: Any, weights: Mapping[str, float], *, after: Callable[[], None] | None = None
) -> list[int]:
    """Live bytes after each operation of forward and backward, beyond the system itself and the batch; gradients count.

    after: what follows inside the count, e.g. an optimiser's step. Leaves no gradient behind.
    """
    system.zero_grad(set_to_none=True)
    with LiveBytes(system) as counter:
        losses = system(batch, frozenset(weights))
        total = sum(weights[k] * losses.terms[k] for k in weights)
        del losses
        total.backward()
        del total
        if after is not None:
            after()
    system.zero_grad(set_to_none=True)
    out: list[int] = counter.timeline
    return out
