"""Columns of latent actions: their names, types and the record that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lara.errors import DataError
from lara.store.manifest import MANIFEST, check_file, check_manifest
from lara.store.plain import decoding
from lara.store.records import read_json

KINDS = ("z", "index", "code", "mask")
LABELS = "labels"  # the kind of a sidecar's manifest
_SIGNATURE = "record_sha256"


def column(prefix: str, kind: str) -> str:
    """E.g. "latent.z"."""
    return f"{prefix}.{kind}"


def about_path(prefix: str) -> str:
    """Where a dataset keeps the record of its label columns."""
    return f"meta/labels.{prefix}.json"


def label_features(prefix: str, *, queries: int, dim: int, codes: bool) -> dict[str, dict[str, Any]]:
    """The `features` of info.json for these columns."""
    vector = {"dtype": "float32", "shape": [queries * dim], "names": None}
    features = {column(prefix, "z"): dict(vector)}
    if codes:
        features[column(prefix, "index")] = {"dtype": "int64", "shape": [queries], "names": None}
        features[column(prefix, "code")] = dict(vector)
    return {**features, column(prefix, "mask"): {"dtype": "bool", "shape": [1], "names": None}}


def label_schema(features: dict[str, dict[str, Any]]) -> pa.Schema:
    """Vectors are fixed-size lists, single numbers plain columns, as lerobot stores them."""
    scalars = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}
    return pa.schema(
        [
            pa.field(name, scalars[f["dtype"]] if f["shape"] == [1] else pa.list_(scalars[f["dtype"]], f["shape"][0]))
            for name, f in features.items()
        ]
    )


def to_arrow(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """(n,) or (n, X) numbers as one column."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size) if pa.types.is_fixed_size_list(kind) else flat


def from_arrow(values: pa.ChunkedArray) -> np.ndarray:
    """The inverse of `to_arrow`: (n,) for plain columns, (n, X) for vectors."""
    if not pa.types.is_fixed_size_list(values.type):
        plain: np.ndarray = values.to_numpy()
        return plain
    flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in values.chunks])
    return flat.reshape(len(values), values.type.list_size)


def column_digest(values: pa.ChunkedArray) -> str:
    """sha256 over the numbers of one column of one data file, however the file is compressed or cut into groups."""
    numbers = np.ascontiguousarray(from_arrow(values))
    return hashlib.sha256(f"{numbers.dtype} {numbers.shape} ".encode() + numbers.tobytes()).hexdigest()


def signed(about: Mapping[str, Any]) -> dict[str, Any]:
    """The record with a checksum of itself, for labels that lie among files which others may change."""
    return {**about, _SIGNATURE: _signature(about)}


def read_about(root: Path, prefix: str) -> dict[str, Any]:
    """The record of a dataset's labels, unchanged since it was written.

    Raises DataError when there is none, or when it was changed; labels themselves are compared where they are read.
    """
    path = root / about_path(prefix)
    if not path.exists():
        raise DataError(f"{root}: no labels '{prefix}' here (no {about_path(prefix)}); make them with lara label")
    about = read_json(path, DataError)
    if not isinstance(about, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(about).__name__}; label again")
    if "columns" not in about:
        _require_manifest(root, path)
        check_file(root, about_path(prefix), DataError)
    elif about.pop(_SIGNATURE, None) != _signature(about):
        raise DataError(f"{path} was changed (its sha256 differs); restore it from a copy, or label again")
    with decoding(path, DataError):
        _ = int(about["settings"]["gap"]), int(about["lam"]["queries"]), int(about["lam"]["dim"]), about["lam"]["codes"]
    return about


def require_unchanged(root: Path, about: Mapping[str, Any], path: Path, columns: Mapping[str, pa.ChunkedArray]) -> None:
    """Raises DataError unless the label columns of one data file are those that were written. A sidecar's files are
    compared whole, see `require_whole_sidecar`."""
    if "columns" not in about:
        return
    name = path.relative_to(root).as_posix()
    known = about["columns"].get(name, {})
    for key, values in columns.items():
        if known.get(key) != column_digest(values):
            raise DataError(
                f"{path}: column '{key}' was changed since it was written; label again under another prefix"
            )


def require_whole_sidecar(root: Path, about: Mapping[str, Any]) -> None:
    """Raises DataError naming every changed file of a sidecar."""
    if "columns" not in about:
        check_manifest(root, LABELS, DataError)


def _require_manifest(root: Path, path: Path) -> None:
    if not (root / MANIFEST).exists():
        raise DataError(f"{path}: these labels have no checksums, an earlier lara wrote them; label again")


def _signature(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
