"""One rank of the runs that test_ddp compares; writes its weights after every run. Started by test_ddp."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.train.toy import Toy, ToyData, run


class Stop(Exception):
    pass


class Interrupted(ToyData):
    """Fails, on all ranks, in the middle of the fourth update."""

    def loader(self, *, start_step, **rest):
        for k, batch in enumerate(super().loader(start_step=start_step, **rest)):
            if start_step + k == 7:
                raise Stop
            yield batch


def main(root: Path, rank: str) -> None:
    torch.set_num_threads(1)

    def keep(name: str, system: Toy) -> None:
        save_file({k: v.clone() for k, v in system.state_dict().items()}, root / f"{name}-rank{rank}.safetensors")

    # equal to one process with the whole batch, while a term stops and leaves parameters without gradient
    system = Toy(noise=0.0)
    run(root / "plain", system=system, learn=("policy",), steps=7)
    keep("plain", system)

    # a sample that only one rank meets makes its loss NaN
    system = Toy(noise=0.0, poison=(POISON,))
    result = run(root / "poison", system=system, learn=("policy",), steps=4, log_every=1)
    assert result.nonfinite == 1, result
    keep("poison", system)

    # noise on every rank, moving codebook, accumulation; interrupted and resumed
    run(root / "straight", steps=4, accumulate=2)
    try:
        run(root / "resumed", steps=4, accumulate=2, data=Interrupted())
    except Stop:
        run(root / "resumed", steps=4, accumulate=2, system=Toy(seed=3))

    # a rank that cannot save must not leave the others waiting
    if rank == "0":
        import lara.train.run as running

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        running.write_checkpoint = full
    try:
        run(root / "full", steps=2)
    except Exception as error:
        (root / f"full-rank{rank}.txt").write_text(f"{type(error).__name__}: {error}")
    torch.distributed.destroy_process_group()


POISON = (11 * 7919 + 13) % 1000  # position 11 of the order: the last sample of the third batch of 4, so on rank 1

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
