"""What the language model reads: pi0 the instruction, pi0.5 the state as whole numbers besides."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lara.ops.bins import to_bins


def plain(instruction: str) -> str:
    """One line without underscores, which is what openpi makes of an instruction before it is tokenised."""
    return instruction.strip().replace("_", " ").replace("\n", " ")


def task(instruction: str) -> str:
    """pi0's prompt: the plain instruction, ended by the newline that stands for "answer now"."""
    return f"{plain(instruction)}\n"


def task_and_state(instruction: str, state_S: Float[Tensor, " S"]) -> str:
    """pi0.5's prompt. state: normalised to [-1, 1] (quantiles), written as bins 0 ... 255 (see ops.bins.to_bins)."""
    numbers = " ".join(str(k) for k in to_bins(state_S).tolist())
    return f"Task: {plain(instruction)}, State: {numbers};\nAction: "
