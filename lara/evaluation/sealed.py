"""The manifest of a finished evaluation: which files hold the result, and their checksums.

A run that goes on has none; it is written last, and taken away before anything is changed.
"""

from __future__ import annotations

from pathlib import Path

from lara.errors import DataError
from lara.store.files import storage
from lara.store.manifest import MANIFEST, check_manifest, write_manifest

KIND = "evaluation"
FILES = ("protocol.json", "policy.json", "episodes.jsonl", "summary.json", "table.md")


def seal(run: Path) -> None:
    """Writes the manifest of a finished run folder."""
    write_manifest(run, KIND, FILES)


def unseal(run: Path) -> None:
    """Checks and removes the manifest, if there is one. Raises DataError for a result that was changed."""
    if (run / MANIFEST).exists():
        require_sealed(run)
        with storage(run, "change"):
            (run / MANIFEST).unlink()


def require_sealed(run: Path) -> None:
    """Raises DataError naming the file unless the run is finished and unchanged."""
    if not (run / MANIFEST).exists():
        raise DataError(
            f"{run} is no finished evaluation (it has no {MANIFEST}); run it again with the same settings to finish it"
        )
    check_manifest(run, KIND, DataError, required=FILES, optional=(), others=True)
