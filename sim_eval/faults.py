"""Toy policies and demonstrators that break on purpose: what an evaluation or a collection must survive.

Each fault happens as long as the file `while_exists` does, so that a later run of the same configuration is healthy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lara.errors import ConfigError
from sim_eval.toy import ReachDemonstrator, ReachPolicy


class FaultyPolicy(ReachPolicy):
    """faults: {episode number: "raise" | "exit" | "hang" | "nan"}, in every task, at the first chunk."""

    buildable: ClassVar[str] = "body"

    def __init__(self, *, faults: Mapping[int, str], while_exists: str) -> None:
        super().__init__()
        self._faults = {int(episode): kind for episode, kind in faults.items()}
        self._while_exists = Path(while_exists)

    def act(self, observation: dict[str, Any]) -> np.ndarray:
        actions = super().act(observation)
        fault = self._faults.get(observation["key"][2]) if self._while_exists.exists() else None
        if fault == "raise":
            raise ValueError("a fault made on purpose")
        if fault == "exit":
            os._exit(3)
        if fault == "hang":
            time.sleep(3600)
        if fault == "nan":
            actions[0] = np.nan
        return actions


class FaultyDemonstrator(ReachDemonstrator):
    """Breaks at one attempt of one task. fault: "raise" | "exit"."""

    buildable: ClassVar[str] = "body"

    def __init__(self, *, seed: int, task: str, attempt: int, fault: str, while_exists: str) -> None:
        super().__init__(seed=seed)
        if fault not in ("raise", "exit"):
            raise ConfigError(f"fault must be 'raise' or 'exit', got {fault!r}")
        self._at = (task, attempt)
        self._fault = fault
        self._while_exists = Path(while_exists)

    def demonstrate(self, task: str, attempt: int, *, keep_failures: bool) -> dict[str, Any]:
        if (task, attempt) == self._at and self._while_exists.exists():
            if self._fault == "exit":
                os._exit(3)
            raise ValueError("a fault made on purpose")
        return super().demonstrate(task, attempt, keep_failures=keep_failures)
