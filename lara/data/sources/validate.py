"""Is a dataset what its metadata promises? The first finding that is an error, as an error."""

from __future__ import annotations

from collections.abc import Collection

from lara.data.sources.source import Finding, Source
from lara.errors import DataError


def validate(source: Source, *, decode: bool, cameras: Collection[str] | None = None) -> tuple[Finding, ...]:
    """What is unusual about a dataset in which nothing is wrong.

    Cheap enough to run before every training: frames are decoded only if asked.

    Args:
        source: the dataset.
        decode: also decode every frame.
        cameras: those whose frames are looked at; all when not given.

    Raises:
        DataError: naming file, episode and frame, for the first finding that is an error.
    """
    found = []
    for finding in source.findings(decode=decode, cameras=tuple(source.cameras) if cameras is None else cameras):
        if finding.severity == "error":
            raise DataError(f"{finding.where}: {finding.said}")
        found.append(finding)
    return tuple(found)
