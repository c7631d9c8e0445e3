"""The table of docs/results/hosts.md, written when HOSTS_TABLE names a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hosts.parity import machine

HEAD = """# Native hosts against their vendors' code

Same weights through our converter, same images, token ids, noise and time; tiny random models in float32. The error is
the largest absolute difference over all numbers of the comparison. Written by

    make test-hosts

on {machine} (ours); theirs is what tests/hosts/requirements*.txt pin. A host
whose environment was absent has no rows. What this does and does not say of GR00T: hosts_groot.md.

| host | against | what was compared | max error | allowed |
|---|---|---|---|---|
"""


class Table:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, float, float]] = []

    def note(self, host: str, against: str, what: str, error: float, allowed: float) -> None:
        """One row; asserts error <= allowed."""
        self.rows.append((host, against, what, error, allowed))
        assert error <= allowed, f"{host}, {what}: {error} > {allowed}"


@pytest.fixture(scope="session")
def table():
    rows = Table()
    yield rows
    target = os.environ.get("HOSTS_TABLE")
    if target and rows.rows:
        lines = [f"| {h} | {a} | {w} | {e:.1e} | {t:.0e} |" for h, a, w, e, t in rows.rows]
        Path(target).write_text(HEAD.format(machine=machine()) + "\n".join(lines) + "\n")
