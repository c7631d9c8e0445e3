"""What ends a training from outside, in words that say where it goes on: dead loader workers, a full GPU."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from lara.errors import ConfigError, DataError
from lara.store.checkpoint import step_folders


@contextlib.contextmanager
def explained(output: Path) -> Iterator[None]:
    """Raises DataError for a loader worker that died and ConfigError for a device without memory left."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"the device has no memory left for a micro-batch ({str(error).splitlines()[0][:200]}). Halve "
            "runtime.batch_size and double runtime.accumulate: the same samples per step in half the memory, as "
            f"another run. `lara show` tells what a step needs. {_where(output)}"
        ) from error
    except RuntimeError as error:
        if not re.search(r"DataLoader worker .*(exited unexpectedly|killed by signal)", str(error), re.S):
            raise
        raise DataError(
            f"a loader worker died ({str(error).splitlines()[0][:200]}), most often because the machine ran out of "
            f"memory or of /dev/shm. Use fewer of them (runtime.workers changes nothing but speed). {_where(output)}"
        ) from error


def _where(output: Path) -> str:
    newest = next(iter(step_folders(output / "checkpoints")), None)
    if newest is None:
        return f"Nothing was saved in {output} yet; the same command starts again."
    return f"The same command goes on from {newest}."
