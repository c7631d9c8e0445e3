"""What studies tell alike: the commands that were run, and on what machine."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from lara.pages.blocks import Block, Code, Inline, Section, Table
from lara.runs.book import Book
from lara.runs.plan import Step


def machine() -> dict[str, Any]:
    """Processor, cores and Python of this machine."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def command_line(command: str, overrides: Sequence[str]) -> str:
    """As it was typed, quoted for a shell."""
    return shlex.join(("lara", command, *overrides))


def what_ran(steps: Iterable[Step], book: Book, *notes: Block) -> Section:
    """Every command with what it took; "≥" where an attempt that was killed is not in the seconds."""
    rows: list[list[Inline]] = [
        [Code(step.command), ("" if book[step].whole else "≥ ") + f"{book[step].seconds:,.0f} s"] for step in steps
    ]
    return Section("What was run", Table(headers=["command", "took"], rows=rows, numeric=[1]), *notes)
