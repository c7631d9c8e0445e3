"""Trains one stage of one system, or the stages of an experiment that lists several, one after the other, each into a
folder of its own below the output (labelling with `lara label` may be one of them). Interrupt it whenever you like; the
same command goes on where it was, bit for bit. `result.json` in the output says how far it came and whether that was
the end.

lara train experiment=demo/dit_only data.root=outputs/demo/data
lara train experiment=rotvla/tiny data.root=outputs/demo/data
lara train experiment=lara/pretrain data.root=PATH policy.backbone.path=VLM stage.load.lam=outputs/lara/lam
accelerate launch -m lara.cli train experiment=... runtime=ddp        (several GPUs or nodes)

exit code
  0    finished: every step of every stage is done (also when they were done before)
  2    an error that the message explains; the last checkpoint is sound
  75   stopped before the end and to be started again: SIGUSR1 (Slurm: --signal=USR1@120), or SIGTERM where
       runtime.requeue=true; for a scheduler that requeues
  129, 130, 143   stopped before the end by SIGHUP, Ctrl-C (SIGINT), SIGTERM
A signal before the first step leaves at once; later ones let the step be finished and saved; the second leaves at once.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence

CONFIG = "train"
_log = logging.getLogger("lara.train")


def main(overrides: Sequence[str]) -> int:
    from lara.face import run_training
    from lara.train.console import log_lines
    from lara.train.signals import StopRequest, exit_code

    with log_lines(), StopRequest() as stop:
        try:
            return run_training(*overrides, stop=stop).exit_code
        except BaseException:
            if stop.interrupted_by is None:
                raise
            name = signal.Signals(stop.interrupted_by).name
            _log.warning("interrupted by %s; the same command goes on from the last checkpoint, if any", name)
            return exit_code(stop.interrupted_by, requeue="runtime.requeue=true" in overrides)
