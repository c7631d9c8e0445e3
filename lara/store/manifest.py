"""A list of a folder's files with their sizes and sha256: what makes "whole and unchanged" something to be checked."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from lara.errors import LaraError
from lara.store.files import replace_file, sha256_of, storage
from lara.store.records import read_json, to_json

MANIFEST = "manifest.json"
SCHEMA = 1


def write_manifest(folder: Path, kind: str, names: Collection[str] | None = None) -> None:
    """Lists the files of a folder that is finished otherwise.

    Args:
        folder: under its temporary name, or under its own.
        kind: what the folder is; checked when it is read.
        names: which files; None lists every file below `folder`.
    """
    if names is None:
        names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in sorted(names)
    }
    record = {"schema": SCHEMA, "kind": kind, "files": files}
    replace_file(folder / MANIFEST, to_json(record, sort_keys=True))


def kind_of(folder: Path, error: type[LaraError]) -> str:
    """What the folder says it is: "checkpoint", "export", "labels"."""
    return str(_manifest(folder, error).get("kind", "checkpoint"))


def check_manifest(
    folder: Path,
    kind: str,
    error: type[LaraError],
    *,
    required: Collection[str] = (),
    optional: Collection[str] | None = None,
    others: bool = False,
    verify: bool = True,
) -> None:
    """Compares a folder with its manifest.

    Args:
        folder: with a manifest.json.
        kind: what it has to be.
        error: what to raise.
        required: files that must be listed.
        optional: files that may be listed besides; None allows any.
        others: files that are not listed may lie there as well.
        verify: compare every file's sha256; otherwise only names and sizes.

    Raises:
        LaraError: of the class `error`, naming every file that is missing, foreign, cut short or changed.
        StoreError: a file is there and the file system refuses to give it.
    """
    manifest = _manifest(folder, error)
    if manifest.get("kind", "checkpoint") != kind:
        raise error(f"{folder}: expected a folder of kind '{kind}', got '{manifest.get('kind')}'")
    with storage(folder, "read"):
        present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()}
    listed, present = set(manifest["files"]), present - {MANIFEST}
    foreign = set() if optional is None else listed - set(required) - set(optional)
    problems = [
        f"{text}: {', '.join(sorted(names))}"
        for text, names in (
            ("not listed in the manifest", set() if others else present - listed),
            ("missing", listed - present),
            (f"not part of a {kind}", foreign | {name for name in listed if not _is_plain(name)}),
            ("absent from the manifest", set(required) - listed),
        )
        if names
    ]
    for name in sorted(listed & present):
        problem = _damage(folder, name, manifest["files"][name], verify)
        problems += [problem] if problem else []
    if problems:
        raise error(f"{folder} is damaged: " + "; ".join(problems) + ". Use a copy of it, or make it again.")


def check_file(folder: Path, name: str, error: type[LaraError]) -> None:
    """Compares one file with its entry in the manifest. Raises as `check_manifest`."""
    entry = _manifest(folder, error)["files"].get(name)
    problem = f"{name} is not listed in the manifest" if entry is None else _damage(folder, name, entry, verify=True)
    if problem:
        raise error(f"{folder} is damaged: {problem}. Use a copy of it, or make it again.")


def _manifest(folder: Path, error: type[LaraError]) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST, error)
    known = manifest if isinstance(manifest, dict) else {}
    if known.get("schema") != SCHEMA or not isinstance(known.get("files"), dict):
        raise error(
            f"{folder}: expected a manifest of schema {SCHEMA}, got {known.get('schema')!r}; use the lara that wrote it"
        )
    return known


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _damage(folder: Path, name: str, entry: Any, verify: bool) -> str | None:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        return f"{name} is not a plain file"
    if not isinstance(entry, dict) or set(entry) != {"sha256", "bytes"}:
        return f"the manifest's entry of {name} is malformed"
    if path.stat().st_size != entry["bytes"]:
        return f"{name} has {path.stat().st_size} bytes instead of {entry['bytes']}"
    if verify and sha256_of(path) != entry["sha256"]:
        return f"{name} was changed (sha256 differs)"
    return None
