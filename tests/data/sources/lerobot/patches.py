"""Datasets as other recorders leave them: our own, with one file changed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

DATA = Path("data/chunk-000/file-000.parquet")
EPISODES = Path("meta/episodes/chunk-000/file-000.parquet")


def columns(path: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Rewrites a parquet file; edit gets and gives name -> column."""
    table = pq.read_table(path)
    pq.write_table(pa.table(edit({name: table[name] for name in table.column_names})), path)


def rows(path: Path, keep: np.ndarray) -> None:
    """Keeps these rows of a parquet file."""
    pq.write_table(pq.read_table(path).take(pa.array(keep)), path)


def info(root: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edits info.json in place."""
    path = root / "meta/info.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def renamed(root: Path, names: dict[str, str]) -> None:
    """Other names for columns, in the data and in info.json."""
    columns(root / DATA, lambda c: {names.get(name, name): column for name, column in c.items()})
    columns(root / EPISODES, lambda c: {_inside(name, names): column for name, column in c.items()})
    info(root, lambda i: i.update(features={names.get(k, k): f for k, f in i["features"].items()}))
    for old, new in names.items():
        if (root / "videos" / old).exists():
            (root / "videos" / old).rename(root / "videos" / new)


def _inside(name: str, names: dict[str, str]) -> str:
    kind, *rest = name.split("/")
    return "/".join([kind, names.get(rest[0], rest[0]), *rest[1:]]) if kind == "videos" else name


def png16(values: np.ndarray) -> bytes:
    """A picture of 16 bits."""
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()
