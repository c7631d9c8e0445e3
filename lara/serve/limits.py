"""A configuration cannot ask for a larger model than the file that is to fill it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from lara.errors import CheckpointError

# what a constructor may make and throw away again (a layer replaced, a loss with a network of its own)
SPARE_NUMBERS, SPARE_MODULES = 2**28, 2_000


@contextmanager
def no_larger_than(weights: Mapping[str, Tensor], where: object) -> Iterator[None]:
    """Inside, a model is built: CheckpointError as soon as it has several times the modules or numbers of `weights`.

    Without it "layers": 1000000000 in a stranger's configuration takes all memory before anything is compared.
    """
    numbers = 4 * sum(tensor.numel() for tensor in weights.values()) + SPARE_NUMBERS
    modules = 4 * len(weights) + SPARE_MODULES
    left = {"modules": modules, "numbers": numbers}

    def spend(what: str, count: int) -> None:
        left[what] -= count
        if left[what] < 0:
            raise CheckpointError(
                f"{where}: the configuration asks for a far larger model than its {len(weights)} tensors fill; "
                "it does not belong to these weights"
            )

    def of_module(module: Any, name: str, inside: Any) -> None:
        spend("modules", 1)

    def of_parameter(module: Any, name: str, parameter: Any) -> None:
        if parameter is not None:
            spend("numbers", parameter.numel())

    hooks = [
        register_module_module_registration_hook(of_module),
        register_module_parameter_registration_hook(of_parameter),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
