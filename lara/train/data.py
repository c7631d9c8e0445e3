"""What the loop asks of a dataset. `lara.data` implements it; the loop imports only this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from lara.types import Batch


class Cards(Protocol):
    """Everything serving needs to undo the transforms of training, robot by robot; JSON-able."""

    def to_dict(self) -> dict[str, Any]: ...


class TrainingData(Protocol):
    """Samples in an order that is a pure function of the step.

    prepare(): the slow part (verifying, statistics, the frame cache), called once before anything else is asked.
    summary(): what there is, in a line, for the log. notes(): what a person should know about it before training.
    loader():  an endless iterator; its item k is the batch of step `start_step + k`, whatever happened before.
               `batch_size` counts the samples of all ranks together; rank r of `world` gets its slice of them.
               The number of workers changes nothing but speed.
    validation_batches(): the same held-out batches at every call, at most `limit` of them.
    """

    def prepare(self) -> None: ...

    def summary(self) -> str: ...

    def notes(self) -> list[str]: ...

    def loader(self, *, start_step: int, batch_size: int, rank: int, world: int, workers: int) -> Iterator[Batch]: ...

    def validation_batches(self, *, batch_size: int, limit: int) -> Iterable[Batch]: ...

    def cards(self) -> Cards: ...

    def __len__(self) -> int: ...
