"""Columns of latent actions: their names, types and the record that says what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

KINDS = ("z", "index", "code", "mask")


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
        return values.to_numpy()
    flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in values.chunks])
    return flat.reshape(len(values), values.type.list_size)
