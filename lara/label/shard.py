"""The labels of one unit of work as one parquet file that is whole or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lara.data.lam_inputs.label_columns import column, label_features, label_schema, to_arrow
from lara.errors import DataError
from lara.label.encode import Labels
from lara.store.fields import COUNT, check_field
from lara.store.files import whole_file
from lara.store.plain import parse_json

_KEY = b"lara_label"


def unit_path(folder: Path, unit: int) -> Path:
    return folder / f"unit-{unit:06d}.parquet"


def write_unit(folder: Path, prefix: str, plan: str, labels: Labels, lam: Any, counts: dict[str, int]) -> None:
    """Whole or absent: a killed writer leaves no file of this name."""
    codes = labels.index_NQ is not None
    features = label_features(prefix, queries=lam.queries, dim=lam.space.dim, codes=codes)
    values = {"z": labels.z_NX, "index": labels.index_NQ, "code": labels.code_NX, "mask": labels.mask_N}
    schema = label_schema(features).with_metadata({_KEY: json.dumps({"plan": plan, **counts}, sort_keys=True)})
    by_name = {column(prefix, kind): array for kind, array in values.items() if array is not None}
    table = pa.Table.from_arrays([to_arrow(by_name[f.name], f.type) for f in schema], schema=schema)
    with whole_file(unit_path(folder, counts["unit"])) as temporary:
        pq.write_table(table, temporary, compression="snappy", write_page_checksum=True)


def unit_counts(folder: Path, plan: str, unit: int, frames: int) -> dict[str, int] | None:
    """What a finished unit counted; None when there is no file. Raises DataError for a file that does not belong."""
    path = unit_path(folder, unit)
    if not path.exists():
        return None
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable unit of labels ({error}); delete the file and run again") from error
    counts = parse_json((metadata.metadata or {}).get(_KEY, b"{}"), f"{path}: its counts", DataError)
    about: dict[str, Any] = counts if isinstance(counts, dict) else {}
    if about.pop("plan", None) != plan or metadata.num_rows != frames or about.get("unit") != unit:
        raise DataError(f"{path}: belongs to other work; delete the file and run again")
    for name, count in about.items():
        check_field(count, COUNT, name, str(path), DataError)
    return about


def read_unit(folder: Path, unit: int) -> pa.Table:
    """The rows of a finished unit, checksums verified. Raises DataError."""
    path = unit_path(folder, unit)
    try:
        return pq.read_table(path, page_checksum_verification=True, partitioning=None).replace_schema_metadata(None)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: damaged ({error}); delete the file and run again") from error
