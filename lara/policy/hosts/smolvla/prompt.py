"""What SmolVLA's language model reads."""

from __future__ import annotations


def task_as_it_is(instruction: str) -> str:
    """SmolVLA's prompt: the instruction untouched, and a newline unless it ends with one."""
    return instruction if instruction.endswith("\n") else f"{instruction}\n"
