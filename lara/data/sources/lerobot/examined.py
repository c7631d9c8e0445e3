"""How a finding is put: where, what, and which episodes it makes unusable."""

from __future__ import annotations

from collections.abc import Sequence

from lara.data.sources.source import Finding
from lara.errors import DataError

Examined = tuple[Finding, tuple[int, ...]]
"""A finding, and the episodes that an error makes unusable."""


def error(kind: str, where: object, said: str | DataError, episodes: Sequence[int] = ()) -> Examined:
    """An error about these episodes. A DataError that begins with `where` does not say it twice."""
    text = str(said).removeprefix(f"{where}: ").removeprefix(f"{where}, ")
    finding = Finding(severity="error", kind=kind, where=str(where), said=text, count=max(len(episodes), 1))
    return finding, tuple(episodes)


def unusual(kind: str, where: object, said: str, count: int) -> Examined:
    """Something that is read right."""
    return Finding(severity="unusual", kind=kind, where=str(where), said=said, count=count), ()
