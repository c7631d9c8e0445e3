"""Parquet files of strangers as plain numbers, or refused by name: nothing is guessed, shifted or rounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lara.errors import DataError
from lara.faults import refused

# what pyarrow raises for bytes that are not what they claim to be
DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError)

_POINTER = b"version https://git-lfs.github.com/spec/"


def is_pointer(path: Path) -> bool:
    """Whether the file is git-lfs's note about a file instead of the file."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def pointer_said(path: Path) -> str:
    """What to do about one."""
    return f"{path}: holds a git-lfs pointer, not the file itself; fetch the files with: git lfs pull"


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Some columns of one file, or DataError naming the file and what is wrong with it."""
    with opened(path) as file:
        return read_opened(path, file, columns)


def read_opened(path: Path, file: pq.ParquetFile, columns: list[str] | None = None) -> pa.Table:
    """`read_parquet` of a file that is open: a footer of 50,000 row groups takes half a second each time it is read."""
    missing = set(columns or ()) - set(file.schema_arrow.names)
    if missing:
        raise DataError(f"{path}: columns {sorted(missing)} are missing; it has {file.schema_arrow.names}")
    try:
        table = file.read(columns=columns)
        table.validate(full=True)  # offsets that a flipped bit sends elsewhere would be followed otherwise
    except DAMAGE as error:
        if (known := refused(error)) is not None:
            raise known from error
        raise DataError(f"{path}: damaged parquet ({_brief(error)}); copy the file again") from error
    if len(table) != file.metadata.num_rows:
        raise DataError(
            f"{path}: its footer promises {file.metadata.num_rows} rows, {len(table)} are there; it is damaged, "
            "copy it again"
        )
    return table


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The file with its footer read, or DataError."""
    if not path.is_file():
        raise DataError(f"{path}: expected a parquet file, found nothing; copy it from the source of the dataset")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        names = file.schema_arrow.names  # a schema is converted only when it is asked for
        twice = sorted({name for name in names if names.count(name) > 1})
    except DAMAGE as error:
        if (known := refused(error)) is not None:
            raise known from error
        if is_pointer(path):
            raise DataError(pointer_said(path)) from error
        raise DataError(
            f"{path}: not a readable parquet file ({_brief(error)}); it is damaged, copy it again"
        ) from error
    with file:
        if twice:
            raise DataError(f"{path}: the columns {twice} stand there more than once; write it again with each once")
        yield file


def vectors(path: Path, key: str, column: pa.ChunkedArray, width: int) -> np.ndarray:
    """A column of numbers or of lists of them, however they are stored -> (n, width) float32. Raises DataError."""
    if column.null_count:
        raise DataError(f"{path}: column '{key}' has {column.null_count} empty rows; remove or mend these episodes")
    with _as_numbers(path, key):
        flat = _flat(path, key, column)
        if len(flat) != len(column) * width:
            raise DataError(
                f"{path}: column '{key}' should hold {width} numbers per row, it holds {len(flat)} in {len(column)}"
            )
        return np.ascontiguousarray(flat, dtype=np.float32).reshape(-1, width)


def integers(path: Path, key: str, column: pa.ChunkedArray) -> np.ndarray:
    """A column of whole numbers, stored as integers or (after a detour through pandas) as floats -> (n,) int64."""
    if column.null_count:
        first = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"{path}: column '{key}' has {column.null_count} empty rows, the first is row {first}")
    with _as_numbers(path, key):
        flat = _flat(path, key, column)
        if flat.dtype.kind == "f":
            wrong = np.flatnonzero(~(np.isfinite(flat) & (np.abs(flat) < 2**53) & (flat == np.round(flat))))
            if len(wrong):
                raise DataError(
                    f"{path}: column '{key}' should hold whole numbers, row {wrong[0]} holds {flat[wrong[0]]}"
                )
        return flat.astype(np.int64)


def reals(path: Path, key: str, column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers -> (n,) float64; an empty row is NaN, which the caller names."""
    with _as_numbers(path, key):
        return _flat(path, key, column).astype(np.float64)


def _flat(path: Path, key: str, column: pa.ChunkedArray) -> np.ndarray:
    """All numbers of all rows, one after the other."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not pa.types.is_fixed_size_list(kind) and len(column):
            # rows of 3 and 5 numbers would add up to two rows of 4
            lengths = pc.min_max(pc.list_value_length(column)).as_py()
            if lengths["min"] != lengths["max"]:
                raise DataError(
                    f"{path}: column '{key}' should hold equally many numbers per row, its rows hold "
                    f"{lengths['min']} to {lengths['max']}"
                )
        return _flat(path, key, pa.chunked_array([c.flatten() for c in column.chunks], type=kind.value_type))
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{path}: column '{key}' should hold numbers, it holds {kind}")
    numbers: np.ndarray = column.to_numpy()
    return numbers


@contextmanager
def _as_numbers(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise DataError(f"{path}: column '{key}' cannot be read as numbers ({_brief(error)}); copy the file") from error


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
